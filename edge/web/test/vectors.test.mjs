// The vectors that every SDK runs: idl/testdata/vectors.json. This SDK writes
// and reads JSON bodies, so of "bodies" and "stamps" it runs the JSON half.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import * as freeim from '../freeim.js';

const { Codec, CloseReason, decodeBody, decodeFrames, decodeMessageId, decodeText, encodeBody, encodeFrame, encodeText } = freeim;
const vectors = JSON.parse(readFileSync(new URL('../../../idl/testdata/vectors.json', import.meta.url), 'utf8'));
const octets = (hex) => new Uint8Array(Buffer.from(hex, 'hex'));
const hex = (bytes) => Buffer.from(bytes).toString('hex');
const codecs = { json: Codec.JSON, protobuf: Codec.PROTOBUF };
const reason = (name) => CloseReason[name.replace('CLOSE_', '')];

/** One test per section, which must not be empty. */
function section(name, run) {
  test(name, () => {
    const rows = Array.isArray(vectors[name]) ? vectors[name] : Object.entries(vectors[name] ?? {});
    assert.ok(rows.length > 0, `vectors.json has ${name}`);
    rows.forEach(run);
  });
}

const numbers = { actions: ['Action', 'ACTION_'], codes: ['Code', 'CODE_'], device_types: ['DeviceType', 'DEVICE_TYPE_'] };
for (const [name, [table, prefix]] of Object.entries(numbers)) {
  section(name, ([key, number]) => assert.equal(freeim[table][key.replace(prefix, '')], number, key));
}

section('close_reasons', ({ name, number, reconnect }) => {
  assert.equal(reason(name), number, name);
  assert.equal(number < 4500, reconnect, name);
});

section('frames', (row) => {
  const frame = { codec: codecs[row.codec], action: row.action, sequence: row.sequence_id, body: octets(row.body_hex) };
  assert.equal(hex(encodeFrame(frame)), row.hex, row.name);
  const [decoded, ...rest] = decodeFrames(octets(row.hex));
  assert.deepEqual([{ ...decoded, body: hex(decoded.body) }, rest], [{ ...frame, body: row.body_hex }, []], row.name);
});

section('streams', (row) => {
  const frames = decodeFrames(octets(row.hex));
  assert.equal(frames.length, row.frames.length ?? row.frames, row.name);
  assert.equal(frames.map((frame) => hex(encodeFrame(frame))).join(''), row.hex, row.name);
});

section('invalid_frames', (row) => {
  assert.throws(() => decodeFrames(octets(row.hex), row.max_body), { reason: reason(row.reason) }, row.name);
});

section('text_frames', (row) => {
  const frame = decodeText(row.text);
  const want = { codec: Codec.JSON, action: row.action, sequence: row.sequence_id, body: JSON.parse(row.body_text) };
  assert.deepEqual(frame, want, row.name);
  assert.deepEqual(decodeText(encodeText(frame)), want, `${row.name}, written`);
});

section('text_requests', (row) => {
  const frame = decodeText(row.text);
  const action = typeof frame.action === 'string' ? vectors.action_names[frame.action] ?? -1 : frame.action;
  const body = JSON.parse(row.body_text || '{}');
  assert.deepEqual([action, frame.sequence, frame.body], [row.action, row.sequence_id, body], row.name);
});

section('invalid_text_frames', (row) => {
  assert.throws(() => decodeText(row.text), { reason: reason(row.reason) }, row.name);
});

section('bodies', (row) => {
  const body = JSON.parse(row.json);
  assert.equal(new TextDecoder().decode(encodeBody(body)), row.json, row.message);
  assert.deepEqual(decodeBody(new TextEncoder().encode(row.json)), body, row.message);
});

section('stamps', (row) => {
  if (row.codec !== 'json') return;
  const want = { inbox_seq: row.inbox_seq, ...decodeBody(octets(row.body_hex)) };
  assert.deepEqual(decodeBody(octets(row.stamped_hex)), want, row.name);
});

section('message_ids', (row) => {
  const { timeMs, spin, type, hash } = decodeMessageId(row.text);
  assert.deepEqual([timeMs, spin, type], [row.time_ms, row.spin, row.conversation_type], row.name);
  assert.equal(hash, Number(BigInt(`0x${row.hex}`) & 0x3fffffn), row.name);
});

section('invalid_message_ids', (row) => {
  assert.throws(() => decodeMessageId(row.text), RangeError, row.name);
});
