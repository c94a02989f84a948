/**
 * What a person is told when the server says no. A Refusal's message is in words of
 * the wire specification, for people who write clients; here it becomes a sentence.
 */
import { Code } from './freeim.js';

/** The names of fields as the page's own labels have them. */
const FIELDS = {
  account: 'account name', nickname: 'display name', password: 'password', text: 'message', room: 'name of the room',
  to_user_id: 'person', user_id: 'person', size: 'size of the file', type: 'type of the file', avatar: 'picture',
};

/** A Refusal, or whatever else a request was rejected with, as a sentence. */
export function sentence({ code, codeName, name, message = '', field = '', retryAfterMs = 0 }) {
  const detail = message === codeName ? '' : message;
  switch (code) {
    case undefined:
      return name === 'UploadError' ? join('It was not uploaded', message) : 'The server did not answer.';
    case Code.REJECTED:
      return join('A rule refuses this', detail);
    case Code.INVALID_ARGUMENT:
      return invalid(field, detail);
    case Code.BAD_CREDENTIALS:
      return 'The account name or the password is wrong.';
    case Code.UNAUTHENTICATED:
      return 'Your session is not valid any more.';
    case Code.NOT_FOUND:
      return join('Not found', detail);
    case Code.ALREADY_EXISTS:
      return join('That exists already', detail);
    case Code.PERMISSION_DENIED:
      return join('Not allowed', detail);
    case Code.CONFLICT:
      return join('That contradicts what is there', detail);
    case Code.LIMIT_EXCEEDED:
      return join('A limit is reached', detail);
    case Code.TOO_LARGE:
      return 'That is too long.';
    case Code.RATE_LIMITED:
      return `Too much at once. Try again ${soon(retryAfterMs)}.`;
    case Code.UNAVAILABLE:
      return `The server has no room for this now. Try again ${soon(retryAfterMs)}.`;
    case Code.DEADLINE_EXCEEDED:
      return `The server took too long. Try again ${soon(retryAfterMs)}.`;
    case Code.INTERNAL:
      return `Something went wrong on the server. Try again ${soon(retryAfterMs)}.`;
    case Code.UNKNOWN_ACTION:
    case Code.MALFORMED_BODY:
      return 'The server does not understand this page. Reload it.';
  }
  return join('The server refuses this', detail);
}

function join(words, detail) {
  return closed(detail ? `${words}: ${detail}` : words);
}

function closed(text) {
  return /[.!?…。！？]$/u.test(text) ? text : `${text}.`;
}

/** What is wrong with a part of a request. */
function invalid(field, detail) {
  const name = Object.hasOwn(FIELDS, field) ? FIELDS[field] : field.replace(/[_.]/g, ' ');
  if (!name) return join('That is not valid', detail);
  if (!detail) return `The ${name} is not valid.`;
  return closed(/^(must|may|is) /.test(detail) ? `The ${name} ${detail}` : `The ${name}: ${detail}`);
}

/** The server's advice, which is for a moment when it gives none. */
function soon(ms) {
  return ms > 0 ? `in ${Math.max(1, Math.ceil(ms / 1000))} s` : 'in a moment';
}
