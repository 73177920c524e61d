// Sources of pictures: files, the clipboard and the camera.

const LARGEST = 4096; // pixels of the longer side; larger photographs are reduced

/**
 * Opens a picture file, turns it upright, and fills transparent parts with white.
 *
 * @param file a Blob.
 * @returns an ImageBitmap.
 * @throws Error: this browser cannot read it.
 */
export async function openPicture(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, {imageOrientation: 'from-image'});
  } catch {
    throw new Error(`${file.name || 'This file'} is not a picture that this browser can read.`);
  }
  const scale = Math.min(1, LARGEST / Math.max(bitmap.width, bitmap.height));
  if (scale === 1 && file.type === 'image/jpeg') return bitmap;
  const canvas = new OffscreenCanvas(
    Math.max(1, Math.round(bitmap.width * scale)), Math.max(1, Math.round(bitmap.height * scale)));
  const pen = canvas.getContext('2d');
  pen.imageSmoothingQuality = 'high';
  pen.fillStyle = '#fff';
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return canvas.transferToImageBitmap();
}

/** Calls `take(file)` when a file is dropped or pasted anywhere on the page. */
export function onDropOrPaste(take, {over = () => {}} = {}) {
  const first = (transfer) => transfer?.files?.[0] ?? null;
  const carriesFile = (event) => event.dataTransfer?.types.includes('Files');
  addEventListener('dragover', (event) => {
    if (!carriesFile(event)) return;
    event.preventDefault();
    over(true);
  });
  addEventListener('dragleave', (event) => event.relatedTarget ?? over(false));
  addEventListener('drop', (event) => {
    if (!carriesFile(event)) return;
    event.preventDefault();
    over(false);
    if (first(event.dataTransfer)) take(first(event.dataTransfer));
  });
  addEventListener('paste', (event) => {
    if (first(event.clipboardData)) take(first(event.clipboardData));
  });
}

/** A camera that passes its frames to `work`, one after the other. */
export class Camera {
  video = document.createElement('video');
  #stream = null;
  #pens = [];

  constructor() {
    this.video.muted = true;
    this.video.playsInline = true;
  }

  get running() {
    return this.#stream !== null;
  }

  /** Whether the camera shows the viewer, who expects a mirror image. */
  get facesUser() {
    return this.#stream?.getVideoTracks()[0]?.getSettings().facingMode !== 'environment';
  }

  /**
   * Starts, and calls `await work(frame)` for each frame. Frames that arrive meanwhile are skipped.
   *
   * @param work is called with {picture, width, height, live, mirror}, a frame for a painter. The
   *   picture is a copy of the frame, so that the alpha, which takes time, belongs to it. The copy
   *   does not change until the next call has ended.
   * @param failed is called with the error if `work` throws or the camera is disconnected, after the
   *   camera has stopped.
   * @param options {facingMode, width, height}: 'user' or 'environment'; the requested size.
   * @throws Error: there is no camera, or the user or the browser denies its use.
   */
  async start(work, failed, {facingMode = 'user', width = 640, height = 480} = {}) {
    this.stop();
    if (!navigator.mediaDevices) throw new Error('The camera needs https:// or localhost.');
    const size = {width: {ideal: width}, height: {ideal: height}, frameRate: {ideal: 30}};
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({video: {facingMode, ...size}});
    } catch (error) {
      throw new Error(REASONS[error.name] ?? `The camera does not start: ${error.message}`);
    }
    this.stop(); // another call may have started it meanwhile
    this.#stream = stream;
    this.video.srcObject = stream;
    await this.video.play();
    const [track] = stream.getVideoTracks();
    if (this.#stream === stream && track.readyState === 'ended') {
      this.stop();
      throw new Error(LOST);
    }
    const next = () => this.video.requestVideoFrameCallback
      ? this.video.requestVideoFrameCallback(step) : requestAnimationFrame(step);
    const fail = (error) => {
      if (this.#stream !== stream) return;
      this.stop();
      failed(error);
    };
    // `stop` does not cause this event.
    track.addEventListener('ended', () => fail(new Error(LOST)));
    const step = async () => {
      if (this.#stream !== stream) return;
      try {
        await work(this.#still());
      } catch (error) {
        fail(error);
        return;
      }
      if (this.#stream === stream) next();
    };
    next();
  }

  /** Copies the current frame to one of two canvases, in turn. */
  #still() {
    const {videoWidth: width, videoHeight: height} = this.video;
    if (this.#pens.length < 2) this.#pens.push(new OffscreenCanvas(width, height).getContext('2d'));
    else this.#pens.reverse();
    const pen = this.#pens.at(-1);
    if (pen.canvas.width !== width) pen.canvas.width = width;
    if (pen.canvas.height !== height) pen.canvas.height = height;
    pen.drawImage(this.video, 0, 0);
    return {picture: pen.canvas, width, height, live: true, mirror: this.facesUser};
  }

  stop() {
    this.#stream?.getTracks().forEach((track) => track.stop());
    this.#stream = null;
    this.video.srcObject = null;
  }
}

const LOST = 'The camera was disconnected.';
const REASONS = {
  NotAllowedError: 'The camera may not be used: allow it in the browser’s address bar.',
  NotFoundError: 'There is no camera.',
  NotReadableError: 'The camera is in use by another program.',
};
