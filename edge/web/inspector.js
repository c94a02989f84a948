/**
 * The drawer that shows what goes over the wire, in readable JSON: for people who
 * write a client. It keeps the last 100 frames, without passwords and tokens.
 */
import { Action, nameOf } from './freeim.js';

const KEPT_FRAMES = 100;
const SECRETS = ['password', 'token'];

export class Inspector {
  #list;
  #following = true; // the newest frame stays in sight

  /** @param {HTMLOListElement} list where the frames go */
  constructor(list) {
    this.#list = list;
    const look = () => (this.#following = this.#atEnd());
    list.addEventListener('scroll', look);
    list.addEventListener('toggle', look, true); // a frame that is opened is being read
    new ResizeObserver(() => this.#following && this.scrollToEnd()).observe(list);
  }

  clear() {
    this.#list.replaceChildren();
  }

  /** Shows one frame of the client's "frame" event; the oldest gives way. */
  add(frame) {
    this.#list.append(row(frame));
    while (this.#list.children.length > KEPT_FRAMES) this.#list.firstChild.remove();
    if (this.#following) this.scrollToEnd();
  }

  #atEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.#list;
    return scrollHeight - scrollTop - clientHeight < 40;
  }

  scrollToEnd() {
    this.#following = true;
    this.#list.scrollTop = this.#list.scrollHeight;
  }
}

function row({ direction, action, sequence, body }) {
  const details = document.createElement('details');
  const summary = document.createElement('summary');
  const shown = JSON.stringify(body, hideSecrets);
  summary.append(
    part('arrow', direction === 'out' ? '→' : '←', direction === 'out' ? 'sent' : 'received'),
    part('time', new Date().toISOString().slice(11, 23)),
    part('action', nameOf(Action, action)),
    part('sequence', sequence === 0 && direction === 'in' ? 'push' : `#${sequence}`),
    part('preview', shown),
  );
  const full = document.createElement('pre');
  full.textContent = JSON.stringify({ version: 131072, action, sequence_id: sequence, body }, hideSecrets, 2);
  details.append(summary, full);
  const item = document.createElement('li');
  item.className = action === Action.ERROR ? 'refusal' : direction;
  item.append(details);
  return item;
}

function part(className, text, label) {
  const span = document.createElement('span');
  span.className = className;
  span.textContent = text;
  if (label) span.setAttribute('aria-label', label);
  return span;
}

function hideSecrets(key, value) {
  return SECRETS.includes(key) && value ? '•••' : value;
}
