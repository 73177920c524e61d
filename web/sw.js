// Keeps the page's own files, so that it works offline. It keeps no pictures: those never pass here.
// `web/build.py` fills in the names and hashes of all files.
const FILES = {};
const CACHE = 'portrait-page';
// What is loaded before this worker runs; the rest is kept as it is asked for.
const SHELL = /^(index\.html|style\.css|icon\.svg|manifest|js\/|models\/models\.json|litert\/(index|wasm-utils))/;

/** The key of a file in the cache: with its hash, so that a changed file is another. */
const keyOf = (name) => new URL(`${name}?${FILES[name]}`, registration.scope).href;

/** The name of the file that a request asks for, if it is one of ours. */
function nameOf(request) {
  const url = new URL(request.url);
  if (request.method !== 'GET' || !url.href.startsWith(registration.scope)) return null;
  const name = decodeURI(url.origin + url.pathname).slice(registration.scope.length) || 'index.html';
  return name in FILES ? name : null;
}

async function answer(name) {
  const cache = await caches.open(CACHE);
  const kept = await cache.match(keyOf(name));
  if (kept) return kept;
  const response = await fetch(new URL(name, registration.scope), {cache: 'no-cache'});
  if (response.ok) await cache.put(keyOf(name), response.clone());
  return response;
}

addEventListener('install', (event) => {
  skipWaiting();
  event.waitUntil(Promise.all(Object.keys(FILES).filter((name) => SHELL.test(name)).map(answer)));
});

addEventListener('activate', (event) => {
  event.waitUntil((async () => {
    const cache = await caches.open(CACHE);
    const current = new Set(Object.keys(FILES).map(keyOf));
    for (const request of await cache.keys()) {
      if (!current.has(request.url)) await cache.delete(request);
    }
    await clients.claim();
  })());
});

addEventListener('fetch', (event) => {
  const name = nameOf(event.request);
  if (name) event.respondWith(answer(name));
});
