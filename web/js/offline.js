// Starts the service worker, sw.js.

/** Waits a moment for the service worker, which then keeps what is loaded for use offline. */
export async function keepForOffline() {
  if (!navigator.serviceWorker) return;
  try {
    await navigator.serviceWorker.register('sw.js');
  } catch (error) {
    console.warn('This page will not work offline:', error.message);
    return;
  }
  if (navigator.serviceWorker.controller) return;
  await new Promise((done) => {
    navigator.serviceWorker.addEventListener('controllerchange', done);
    setTimeout(done, 3000);
  });
}
