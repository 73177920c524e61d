// The colours and pictures that may be put behind a person, as radio buttons that show them.
import {backdrop, BACKDROPS} from './backdrops.js';

const COLOURS = ['#ffffff', '#e9e4da', '#8e9aa0', '#23292b', '#2f5d62', '#d98b6a'];
const NAMES = ['white', 'sand', 'grey', 'charcoal', 'teal', 'terracotta'];
const WIDTH = 160; // pixels of a small picture
const HEIGHT = 120;

/**
 * Fills `list` with colours, and a field for any other.
 *
 * @param chosen the colour that is chosen at first.
 * @param take gets a colour, '#rrggbb', when it is chosen.
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
 * Fills `list` with backdrops, takes the first, and adds a button for pictures of the user's own.
 *
 * @param take gets a picture when it is chosen.
 * @param open is called for the button.
 * @returns a function that adds a picture, by its name, and chooses it.
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

/** A radio button that looks like `swatch`. */
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
