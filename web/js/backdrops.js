// Draws backgrounds for a person, so that no files need to be loaded.

const WIDTH = 1280;
const HEIGHT = 960;

/** The names of the backdrops, and the functions that draw them. */
export const BACKDROPS = {
  Studio: (pen) => {
    fill(pen, radial(pen, 0.5, 0.42, 0.75, ['#eceae6', '#b9b6b0', '#77746f']));
  },
  Dawn: (pen) => {
    fill(pen, vertical(pen, ['#5b6c9d', '#b98fb0', '#f1b79a', '#fbe3c0']));
    fill(pen, radial(pen, 0.72, 0.78, 0.5, ['#fff1cfcc', '#ffe7b000']));
  },
  Garden: (pen) => {
    fill(pen, vertical(pen, ['#cfe0b8', '#7fa06b', '#41633f', '#2c4630']));
    lights(pen, 11, 40, ['#eef5c9', '#a9c98b', '#5f8a57', '#d8e8a8'], 0.26);
  },
  Evening: (pen) => {
    fill(pen, vertical(pen, ['#0d1424', '#1c2743', '#3a2d4a', '#1a1623']));
    lights(pen, 5, 40, ['#ffcf87', '#ff9f6b', '#7f9fe0', '#ffe0b0'], 0.3);
  },
};

/** Draws a backdrop on a canvas. */
export function backdrop(name) {
  const canvas = new OffscreenCanvas(WIDTH, HEIGHT);
  BACKDROPS[name](canvas.getContext('2d'));
  return canvas;
}

function fill(pen, style) {
  pen.fillStyle = style;
  pen.fillRect(0, 0, WIDTH, HEIGHT);
}

function stopped(gradient, colours) {
  colours.forEach((colour, i) => gradient.addColorStop(i / (colours.length - 1), colour));
  return gradient;
}

function vertical(pen, colours) {
  return stopped(pen.createLinearGradient(0, 0, 0, HEIGHT), colours);
}

function radial(pen, x, y, radius, colours) {
  const centre = [x * WIDTH, y * HEIGHT];
  return stopped(pen.createRadialGradient(...centre, 0, ...centre, radius * WIDTH), colours);
}

/** Draws discs out of focus, always in the same places. */
function lights(pen, seed, count, colours, strength) {
  let state = seed;
  const random = () => (state = (state * 16807) % 2147483647) / 2147483647;
  for (let i = 0; i < 9; i++) random();
  for (let i = 0; i < count; i++) {
    const [x, y, radius] = [random() * WIDTH, random() * HEIGHT * 0.85, 18 + random() * 62];
    pen.globalAlpha = strength * (0.3 + 0.7 * random());
    pen.fillStyle = colours[Math.floor(random() * colours.length)];
    pen.beginPath();
    pen.arc(x, y, radius, 0, 7);
    pen.fill();
  }
  pen.globalAlpha = 1;
  // A small picture, enlarged, gives the discs soft edges.
  const small = new OffscreenCanvas(WIDTH / 40, HEIGHT / 40);
  small.getContext('2d').drawImage(pen.canvas, 0, 0, small.width, small.height);
  pen.imageSmoothingQuality = 'high';
  pen.globalAlpha = 0.55;
  pen.drawImage(small, 0, 0, WIDTH, HEIGHT);
  pen.globalAlpha = 1;
}
