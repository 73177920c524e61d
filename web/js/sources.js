// Where pictures come from: files, the clipboard, the camera.

const LARGEST = 4096; // pixels of the longer side: larger photographs are made smaller

/**
 * Opens a picture file, upright, on white where it is transparent.
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

/** Calls `take(file)` for a file that is dropped or pasted anywhere on the page. */
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

/** A camera, whose frames `work` sees one after the other. */
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

  /** Whether the picture is of the person who looks at it, who expects a mirror. */
  get facesUser() {
    return this.#stream?.getVideoTracks()[0]?.getSettings().facingMode !== 'environment';
  }

  /**
   * Starts, and calls `await work(frame)` for each frame; frames that come meanwhile are left out.
   *
   * @param work gets {picture, width, height, live, mirror}, as a painter takes it. The picture is
   *   a still of the frame: the alpha, which takes time, and the picture are of the same moment. It
   *   stays as it is until the next call has ended.
   * @param failed gets the error of a `work` that throws; the camera has stopped then.
   * @param options {facingMode, width, height}: 'user' or 'environment'; the size that is wished.
   * @throws Error: there is no camera, or it may not be used.
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
    this.#stream = stream;
    this.video.srcObject = stream;
    await this.video.play();
    const next = () => this.video.requestVideoFrameCallback
      ? this.video.requestVideoFrameCallback(step) : requestAnimationFrame(step);
    const step = async () => {
      if (this.#stream !== stream) return;
      try {
        await work(this.#still());
      } catch (error) {
        this.stop();
        failed(error);
        return;
      }
      if (this.#stream === stream) next();
    };
    next();
  }

  /** What the camera shows now, on one of two canvases in turn. */
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

const REASONS = {
  NotAllowedError: 'The camera may not be used: allow it in the browser’s address bar.',
  NotFoundError: 'There is no camera.',
  NotReadableError: 'The camera is in use by another program.',
};
