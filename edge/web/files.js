/**
 * What the demo knows of uploaded files: where they can be read, what a File of the browser's is as a message, and how
 * one is shown. Files are named "file:ID"; what is at another server is never loaded, only linked to.
 */
import { MessageKind } from './freeim.js';

const SOON_MS = 60_000; // a URL that ends within this is asked for again
const PAUSE_MS = 5000; // after a question that nobody answered
const MOST = 50; // files in one question

/** Where files can be read: what is shown at once is asked for at once, and kept while it holds. */
export class Files {
  #known = new Map(); // ID -> {url, until, asked}; an empty url: it is gone
  #wanted = new Set();
  #asking = false;
  #notBefore = 0;
  #ask;
  #changed;

  /** @param ask gives [{file, url, expires_ms}] of IDs; changed is called when there are more */
  constructor(ask, changed) {
    this.#ask = ask;
    this.#changed = changed;
  }

  /** The URL of "file:ID"; empty while it is not known, and of whatever is not there any more. */
  url(address) {
    const id = /^file:([2-9A-HJ-NP-Z]{26})$/.exec(address ?? '')?.[1];
    if (!id) return '';
    const { url = '', until = 0, asked = 0 } = this.#known.get(id) ?? {};
    const now = Date.now();
    if (until < now + SOON_MS && asked + SOON_MS <= now) { // whatever the clocks say, once in that time
      this.#wanted.add(id);
      this.#soon();
    }
    return until > now || asked + SOON_MS > now ? url : '';
  }

  /** There is a connection again: what was not answered is asked for at once. */
  again() {
    this.#notBefore = 0;
  }

  forget() {
    this.#known.clear();
    this.#wanted.clear();
  }

  async #soon() {
    if (this.#asking || Date.now() < this.#notBefore) return;
    this.#asking = true;
    await null; // what else is drawn now is asked for with it
    const ids = [...this.#wanted].slice(0, MOST);
    for (const id of ids) this.#wanted.delete(id);
    try {
      const found = await this.#ask(ids);
      const asked = Date.now();
      for (const id of ids) this.#known.set(id, { url: '', until: asked + 2 * SOON_MS, asked });
      for (const { file, url, expires_ms: until } of found) this.#known.set(file.id, { url, until, asked });
    } catch {
      this.#notBefore = Date.now() + PAUSE_MS;
      setTimeout(() => this.#changed(), PAUSE_MS).unref?.(); // that drawing asks again
    }
    this.#asking = false;
    this.#changed();
  }
}

/** What a browser can show in a page, and the server gives out to be shown. */
const PICTURES = ['image/png', 'image/jpeg', 'image/gif', 'image/webp', 'image/avif'];
const FILMS = ['video/mp4', 'video/webm'];

export const isPicture = (type) => PICTURES.includes(type);

/** The kind of message, and its media, that a File is when it was uploaded as `uploaded`. */
export async function contentOf(file, uploaded) {
  const { id, name, type, size } = uploaded;
  const media = { file: `file:${id}`, name, type, size };
  if (FILMS.includes(type)) return { kind: MessageKind.VIDEO, media };
  if (!isPicture(type)) return { kind: MessageKind.FILE, media };
  try {
    const { width, height } = await createImageBitmap(file);
    if (Math.max(width, height) < 65_536) Object.assign(media, { width, height });
  } catch {
    // no picture after all, or of a type that this browser does not know: it is shown without a size
  }
  return { kind: MessageKind.IMAGE, media };
}

/** "3.4 MB" */
export function sizeText(octets) {
  if (!octets) return '';
  const step = Math.min(3, Math.floor(Math.log(octets) / Math.log(1000)));
  return `${new Intl.NumberFormat([], { maximumFractionDigits: step ? 1 : 0 }).format(octets / 1000 ** step)} ${['B', 'kB', 'MB', 'GB'][step]}`;
}

/** Makes `node` show a message's media, read at `url`; gives whether it does. */
export function showMedia(node, { kind, media }, url) {
  const shown = media && url ? `${kind} ${media.file}` : ''; // a new URL of the same file ends no film that plays
  if (node.dataset.shown !== shown) {
    node.dataset.shown = shown;
    node.replaceChildren(...(shown ? [pieceOf(kind, media, url)] : []));
  }
  return Boolean(shown);
}

function pieceOf(kind, { name, size, width, height }, url) {
  if (kind === MessageKind.VIDEO || kind === MessageKind.VOICE) {
    const player = document.createElement(kind === MessageKind.VIDEO ? 'video' : 'audio');
    return Object.assign(player, { controls: true, preload: 'metadata', src: url });
  }
  const link = Object.assign(document.createElement('a'), { href: url, target: '_blank', rel: 'noopener' });
  if (kind === MessageKind.IMAGE) {
    const picture = Object.assign(document.createElement('img'), { alt: name || 'A picture', src: url });
    if (width && height) Object.assign(picture, { width, height });
    link.append(picture);
  } else {
    link.className = 'file';
    link.append(`📎 ${[name, sizeText(size)].filter(Boolean).join(' · ')}`);
  }
  return link;
}
