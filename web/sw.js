// Stores the files of the page, so that it works offline. Pictures never pass here.
// `web/build.py` fills in the names and hashes of all files.
const FILES = {};
// All pages of a host share its caches, so the name contains the folder of this page.
const CACHE = `portrait-page ${registration.scope}`;
// The files that are loaded before this worker runs. Other files are stored when they are requested.
const SHELL = /^(index\.html|style\.css|icon\.svg|manifest|js\/|models\/models\.json|litert\/(index|wasm-utils))/;

/** Returns the key of a file in the cache. It contains the hash, so a changed file has a new key. */
const keyOf = (name) => new URL(`${name}?${FILES[name]}`, registration.scope).href;

/** Returns the name of the requested file, if it belongs to the page. */
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
    await caches.delete('portrait-page'); // of earlier versions, for all folders
    await clients.claim();
  })());
});

addEventListener('fetch', (event) => {
  const name = nameOf(event.request);
  if (name) event.respondWith(answer(name));
});
