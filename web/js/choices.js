// Radio buttons that show the colours and pictures for the background.
import {backdrop, BACKDROPS} from './backdrops.js';

const COLOURS = ['#ffffff', '#e9e4da', '#8e9aa0', '#23292b', '#2f5d62', '#d98b6a'];
const NAMES = ['white', 'sand', 'grey', 'charcoal', 'teal', 'terracotta'];
const WIDTH = 160; // of a preview, in pixels
const HEIGHT = 120;

/**
 * Fills `list` with colours, and a field for any other colour.
 *
 * @param chosen the initial colour.
 * @param take is called with a colour, '#rrggbb', when the user chooses it.
 */
export function showColours(list, chosen, take) {
  COLOURS.forEach((colour, i) => {
    const swatch = document.createElement('span');
    swatch.className = 'swatch';
    swatch.style.background = colour;
    const input = choice(list, 'colour', swatch, () => take(colour));
    input.checked = colour === chosen;
    input.setAttribute('aria-label', NAMES[i]);
  });
  const other = Object.assign(document.createElement('input'), {type: 'color', value: '#7a9e87'});
  other.setAttribute('aria-label', 'another colour');
  other.addEventListener('input', () => {
    for (const each of list.querySelectorAll('[type=radio]')) each.checked = false;
    take(other.value);
  });
  list.append(other);
}

/**
 * Fills `list` with backdrops, chooses the first, and adds a button for the user's own pictures.
 *
 * @param take is called with a picture when the user chooses it.
 * @param open is called when the user presses the button.
 * @returns a function that adds a picture with a name, and chooses it.
 */
export function showBackdrops(list, take, open) {
  const add = (picture, name) => {
    const input = choice(list, 'backdrop', small(picture), () => take(picture), name);
    return () => {
      input.checked = true;
      take(picture);
    };
  };
  const choosers = Object.keys(BACKDROPS).map((name) => add(backdrop(name), name));
  choosers[0]();
  const own = Object.assign(document.createElement('button'), {type: 'button', textContent: 'Your own'});
  const plus = Object.assign(document.createElement('span'), {className: 'swatch', textContent: '+'});
  plus.setAttribute('aria-hidden', 'true');
  own.prepend(plus);
  own.addEventListener('click', open);
  list.append(own);
  return (picture, name) => {
    add(picture, name)();
    list.append(own);
  };
}

/** Creates a radio button that looks like `swatch`. */
function choice(list, group, swatch, take, title = '') {
  const label = document.createElement('label');
  const input = Object.assign(document.createElement('input'), {type: 'radio', name: group});
  const text = Object.assign(document.createElement('span'), {className: 'title', textContent: title});
  input.addEventListener('change', take);
  label.append(input, swatch, text);
  list.append(label);
  return input;
}

function small(picture) {
  const canvas = Object.assign(document.createElement('canvas'), {
    width: WIDTH, height: HEIGHT, className: 'swatch',
  });
  const scale = Math.max(WIDTH / picture.width, HEIGHT / picture.height);
  const [width, height] = [picture.width * scale, picture.height * scale];
  const pen = canvas.getContext('2d');
  pen.drawImage(picture, (WIDTH - width) / 2, (HEIGHT - height) / 2, width, height);
  return canvas;
}
