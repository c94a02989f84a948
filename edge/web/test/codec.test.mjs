import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import * as freeim from '../freeim.js';

const { Action, CloseReason, decodeBody, decodeFrames, decodeMessageId, decodeText, encodeBody, encodeFrame, encodeText } = freeim;
const hex = (bytes) => Buffer.from(bytes).toString('hex');

test('a frame is 13 octets and the body', () => {
  const bytes = encodeFrame({ action: Action.MESSAGE, sequence: 7, body: encodeBody({ a: 1 }) });
  assert.equal(hex(bytes), '00020000' + '03' + '00000007' + '00000007' + hex(Buffer.from('{"a":1}')));
  const [frame] = decodeFrames(bytes);
  assert.deepEqual({ ...frame, body: decodeBody(frame.body) }, { codec: 0, action: 3, sequence: 7, body: { a: 1 } });
});

test('a message holds any number of frames', () => {
  const one = encodeFrame({ action: 100, sequence: 1 });
  const two = encodeFrame({ codec: 1, action: 255, sequence: 0xffffffff, body: Uint8Array.of(8, 13) });
  assert.deepEqual(decodeFrames(new Uint8Array()), []);
  const frames = decodeFrames(Buffer.concat([one, two, one]));
  assert.deepEqual(frames.map((f) => [f.codec, f.action, f.sequence, f.body.length]), [[0, 100, 1, 0], [1, 255, 0xffffffff, 2], [0, 100, 1, 0]]);
});

test('a frame that is cut anywhere is refused', () => {
  const bytes = encodeFrame({ action: 3, sequence: 7, body: encodeBody({ text: 'hi' }) });
  for (let length = 1; length < bytes.length; length++) {
    assert.throws(() => decodeFrames(bytes.subarray(0, length)), { name: 'FrameError', reason: CloseReason.MALFORMED }, `${length} octets`);
  }
});

test('other versions are refused', () => {
  for (const version of [0, 1, 100000, 131074, 196608, 0xffffffff]) {
    const bytes = encodeFrame({ action: 3 });
    new DataView(bytes.buffer).setUint32(0, version);
    assert.throws(() => decodeFrames(bytes), { reason: CloseReason.UNSUPPORTED_VERSION }, `version ${version}`);
  }
});

test('a body over the limit is refused at its header', () => {
  const bytes = encodeFrame({ action: 3, body: new Uint8Array(11) });
  assert.throws(() => decodeFrames(bytes, 10), { reason: CloseReason.TOO_LARGE });
  new DataView(bytes.buffer).setUint32(9, 0xffffffff);
  assert.throws(() => decodeFrames(bytes), { reason: CloseReason.TOO_LARGE });
});

test('text frames', () => {
  const text = encodeText({ action: 3, sequence: 7, body: { text: 'hi' } });
  assert.equal(text, '{"version":131072,"action":3,"sequence_id":7,"body":{"text":"hi"}}');
  assert.deepEqual(decodeText(text), { codec: 0, action: 3, sequence: 7, body: { text: 'hi' } });
  assert.deepEqual(decodeText('{}'), { codec: 0, action: 0, sequence: 0, body: {} });
  assert.equal(decodeText('{"action":"chat.send","body":null}').action, 'chat.send');
});

test('what is no text frame is refused', () => {
  const cases = {
    'not JSON': '{', 'no object': '[]', 'a body that is no object': '{"body":[]}', 'an action beyond 255': '{"action":256}',
    'a negative sequence': '{"sequence_id":-1}', 'a fraction': '{"action":1.5}', 'null': 'null',
  };
  for (const [name, text] of Object.entries(cases)) {
    assert.throws(() => decodeText(text), { name: 'FrameError', reason: CloseReason.MALFORMED }, name);
  }
  for (const version of [1, 131073, 1.5, '"2"']) {
    assert.throws(() => decodeText(`{"version":${version}}`), { reason: CloseReason.UNSUPPORTED_VERSION }, `version ${version}`);
  }
});

test('a body is a JSON object in UTF-8, or nothing', () => {
  assert.deepEqual(decodeBody(new Uint8Array()), {});
  assert.throws(() => decodeBody(Uint8Array.of(0x22, 0xff, 0x22)), { name: 'FrameError' });
  assert.throws(() => decodeBody(encodeBody([1])), { name: 'FrameError' });
});

test('a message ID tells its parts', () => {
  assert.deepEqual(decodeMessageId('2222222222222222'), { timeMs: 0, spin: 0, type: 0, hash: 0 });
  assert.deepEqual(decodeMessageId('ZZZZZZZZZZZZZZZZ'), { timeMs: 2 ** 42 - 1, spin: 4095, type: 15, hash: 2 ** 22 - 1 });
  assert.throws(() => decodeMessageId('2222'), RangeError);
  assert.throws(() => decodeMessageId('222222222222222I'), RangeError);
});

test('random IDs are fit for a client_id', () => {
  const ids = new Set(Array.from({ length: 1000 }, freeim.randomId));
  assert.equal(ids.size, 1000);
  for (const id of ids) assert.match(id, /^[a-z0-9]{20}$/);
});

// The numbers of the tables are those of the .proto files, all of them.
const enums = { Action: 'wire', Code: 'wire', CloseReason: 'wire', DeviceType: 'wire', SignOutScope: 'account' };
for (const [name, file] of Object.entries(enums)) {
  test(`${name} is the enum of ${file}.proto`, () => {
    const proto = readFileSync(new URL(`../../../idl/${file}.proto`, import.meta.url), 'utf8');
    const body = proto.match(new RegExp(`^enum ${name} \\{([^]*?)^\\}`, 'm'))[1];
    const prefix = { CloseReason: 'CLOSE_' }[name] ?? `${name.replace(/(?<=[a-z])(?=[A-Z])/g, '_').toUpperCase()}_`;
    const values = [...body.matchAll(/^\s*([A-Z_]+) = (\d+);/gm)].map(([, key, number]) => [key.slice(prefix.length), Number(number)]);
    assert.ok(values.length > 2, 'the enum was found');
    assert.deepEqual(Object.fromEntries(values), { ...freeim[name] });
  });
}
