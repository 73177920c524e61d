// Access to the elements of the page, and its line of messages.

/** Returns the element of that id. */
export const $ = (id) => document.getElementById(id);

/** Shows a message, in red if something went wrong. */
export function say(text, wrong = false) {
  $('say').textContent = text;
  $('say').classList.toggle('wrong', wrong);
}

/** Runs an action, and shows a message if it fails. Returns its result, or null. */
export async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    say(error.message, true);
    return null;
  }
}
