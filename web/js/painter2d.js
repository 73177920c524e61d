// A `Painter` for the 2D canvas, for browsers whose WebGL is missing or runs on the CPU. It is faster
// there, but its edges are plainer: the alpha is stretched smoothly and does not follow the edges of
// the picture.

const SOFT = 240; // pixels of the longer side of the blurred background
const DISC = 0.04; // radius of the blur at strength 1, as a share of the longer side
const LEAST = 0.2; // alphas up to this become 0, because they are mostly the old background
const RANGE = 0.7; // alphas of at least LEAST + RANGE become 1
const FILLS = 4; // how often the background is drawn over its hole to close it

export class Painter2d {
  /** @param canvas an HTMLCanvasElement or OffscreenCanvas, without a context. */
  constructor(canvas) {
    this.canvas = canvas;
    this.pen = canvas.getContext('2d');
    this.layers = {};
    this.largest = 4096;
  }

  /** See `Painter`. */
  setBackground(picture) {
    this.behind = asDrawable(picture);
  }

  /** See `Painter`. */
  setPainted(picture) {
    this.painted = asDrawable(picture);
  }

  /** See `Painter`. */
  draw(frame, look, size = frame) {
    const {canvas, pen} = this;
    const {width, height} = size;
    if (canvas.width !== width) canvas.width = width;
    if (canvas.height !== height) canvas.height = height;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.globalCompositeOperation = 'copy';
    pen.filter = 'none';
    const effect = frame.alpha ? look.effect : 'none';
    if (effect === 'none') this.#turned(frame, () => pen.drawImage(frame.picture, 0, 0, width, height));
    else {
      const mask = this.#mask(frame.alpha);
      this.#ground(effect, frame, look, mask);
      pen.globalCompositeOperation = 'source-over';
      this.#turned(frame, () => this.#person(effect, frame, mask, look));
    }
    if (look.split > 0) this.#original(frame, look.split);
  }

  /** Mirrors the drawing if the frame is mirrored. */
  #turned(frame, drawing) {
    const {pen, canvas} = this;
    if (frame.mirror) pen.setTransform(-1, 0, 0, 1, canvas.width, 0);
    drawing();
    pen.setTransform(1, 0, 0, 1, 0, 0);
  }

  #ground(effect, frame, look, mask) {
    const {pen, canvas: {width, height}} = this;
    if (effect === 'blur') {
      const soft = this.#background(frame, mask, look.strength);
      this.#turned(frame, () => pen.drawImage(soft, 0, 0, width, height));
    } else if (effect === 'style') {
      this.#turned(frame, () => pen.drawImage(frame.picture, 0, 0, width, height));
    } else if (effect === 'picture' && this.behind) {
      const {width: w, height: h} = this.behind;
      const scale = Math.max(width / w, height / h);
      const [wide, high] = [width / scale, height / scale];
      pen.drawImage(this.behind, (w - wide) / 2, (h - high) / 2, wide, high, 0, 0, width, height);
    } else if (effect === 'cutout') {
      pen.clearRect(0, 0, width, height);
    } else {
      pen.fillStyle = effect === 'matte' ? '#000' : look.colour;
      pen.fillRect(0, 0, width, height);
    }
  }

  #person(effect, frame, mask, look) {
    const {pen, canvas: {width, height}} = this;
    const layer = this.#layer('person', width, height);
    layer.globalCompositeOperation = 'copy';
    if (effect === 'matte') {
      layer.fillStyle = '#fff';
      layer.fillRect(0, 0, width, height);
    } else {
      layer.drawImage(frame.picture, 0, 0, width, height);
    }
    if (effect === 'style' && this.painted) {
      layer.globalCompositeOperation = 'source-over';
      layer.globalAlpha = look.strength;
      layer.drawImage(this.painted, 0, 0, width, height);
      layer.globalAlpha = 1;
    }
    layer.globalCompositeOperation = 'destination-in';
    layer.drawImage(mask, 0, 0, width, height);
    pen.drawImage(layer.canvas, 0, 0);
  }

  /** Draws the blurred background without the person's colours. */
  #background({picture}, mask, strength) {
    const {width, height} = this.canvas;
    const scale = Math.min(1, SOFT / Math.max(width, height));
    const size = [Math.round(width * scale), Math.round(height * scale)];
    const sharp = this.#layer('sharp', ...size);
    sharp.globalCompositeOperation = 'copy';
    sharp.drawImage(picture, 0, 0, ...size);
    sharp.globalCompositeOperation = 'destination-out';
    sharp.drawImage(mask, 0, 0, ...size);
    const radius = strength * DISC * Math.max(...size) * 0.6; // a Gaussian as wide as the disc
    const soft = this.#layer('soft', ...size);
    soft.globalCompositeOperation = 'copy';
    soft.filter = `blur(${radius.toFixed(2)}px)`;
    soft.drawImage(sharp.canvas, 0, 0);
    soft.filter = 'none';
    // The hole stays open far inside the person, where the picture below is hidden by the person.
    const full = this.#layer('full', ...size);
    full.globalCompositeOperation = 'copy';
    full.drawImage(picture, 0, 0, ...size);
    full.globalCompositeOperation = 'source-over';
    for (let i = 0; i < FILLS; i++) full.drawImage(soft.canvas, 0, 0);
    return full.canvas;
  }

  /** Converts the alpha to a canvas of the same size. */
  #mask({data, width, height}) {
    const mask = this.#layer('mask', width, height);
    if (this.image?.width !== width || this.image.height !== height) {
      this.image = mask.createImageData(width, height);
    }
    const bytes = this.image.data;
    for (let i = 0, j = 3; i < data.length; i++, j += 4) bytes[j] = (data[i] - LEAST) * (255 / RANGE);
    mask.putImageData(this.image, 0, 0);
    return mask.canvas;
  }

  /** Draws the original picture over the left of the canvas. */
  #original(frame, split) {
    const {pen, canvas: {width, height}} = this;
    pen.save();
    pen.beginPath();
    pen.rect(0, 0, split * width, height);
    pen.clip();
    this.#turned(frame, () => pen.drawImage(frame.picture, 0, 0, width, height));
    pen.restore();
  }

  /** Returns the context of a canvas of this size, and keeps it for the next frame. */
  #layer(name, width, height) {
    const layer = this.layers[name] ??= new OffscreenCanvas(width, height).getContext('2d');
    if (layer.canvas.width !== width) layer.canvas.width = width;
    if (layer.canvas.height !== height) layer.canvas.height = height;
    return layer;
  }
}

function asDrawable(picture) {
  if (!(picture instanceof ImageData)) return picture;
  const canvas = new OffscreenCanvas(picture.width, picture.height);
  canvas.getContext('2d').putImageData(picture, 0, 0);
  return canvas;
}
