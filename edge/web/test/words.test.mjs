import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Code, Refusal, Unanswered, UploadError } from '../freeim.js';
import { sentence } from '../words.js';

const said = (error) => sentence(new Refusal(error));

test('a refusal is a sentence', () => {
  const rule = 'must be 3-32 of a-z 0-9 . _ -, a letter first';
  assert.equal(said({ code: Code.INVALID_ARGUMENT, field: 'account', message: rule }), `The account name ${rule}.`);
  assert.equal(said({ code: Code.INVALID_ARGUMENT, field: 'slow_mode_ms', message: 'must be 0-5' }), 'The slow mode ms must be 0-5.');
  assert.equal(said({ code: Code.INVALID_ARGUMENT, field: 'room', message: 'give one' }), 'The name of the room: give one.');
  assert.equal(said({ code: Code.INVALID_ARGUMENT, field: 'constructor' }), 'The constructor is not valid.');
  assert.equal(said({ code: Code.INVALID_ARGUMENT }), 'That is not valid.');
  assert.equal(said({ code: Code.REJECTED, message: 'no ads in this chat' }), 'A rule refuses this: no ads in this chat.');
  assert.equal(said({ code: Code.REJECTED, message: 'Who are you?' }), 'A rule refuses this: Who are you?');
  assert.equal(said({ code: Code.REJECTED }), 'A rule refuses this.');
  assert.equal(said({ code: Code.RATE_LIMITED, retry_after_ms: 1500 }), 'Too much at once. Try again in 2 s.');
  assert.equal(said({ code: Code.UNAVAILABLE }), 'The server has no room for this now. Try again in a moment.');
  assert.equal(sentence(new Unanswered('not online')), 'The server did not answer.');
  assert.equal(sentence(new UploadError('the upload was given up')), 'It was not uploaded: the upload was given up.');
});

test('no code is shown by its name', () => {
  for (const code of [...Object.values(Code), 999]) assert.doesNotMatch(said({ code }), /[A-Z]{3}|_|\d{3}/, `code ${code}`);
});
