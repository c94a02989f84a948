import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Action, applyBecame, Client, memoryStorage, MessageKind, replyTo, sourceOf } from '../freeim.js';
import { Chat } from '../model.js';
import { FakeClock, FakeServer, listen } from './fake.mjs';

async function alice(storage = memoryStorage()) {
  const clock = new FakeClock();
  const server = new FakeServer(clock);
  server.account('alice');
  const bob = server.account('bob').user_id;
  const client = new Client({ url: 'ws://x/ws', clock, WebSocket: server.WebSocket, random: () => 0.5, storage });
  const seen = listen(client);
  client.signIn({ account: 'alice', password: 'password' });
  await clock.until(() => seen.synced > 0);
  return { clock, server, bob, client, seen };
}

test('a message of any kind goes out with all that it is, also after a reload', async () => {
  const storage = memoryStorage();
  const { clock, server, bob, client } = await alice(storage);
  const media = { file: 'https://cdn.example/a.png', width: 7 };
  const out = client.send(bob, 'a caption', { kind: MessageKind.IMAGE, media, mentions: [bob], reply_to: { seq: 1, message_id: 'M' } });
  assert.deepEqual(storage.load().outbox[0].content, { kind: MessageKind.IMAGE, media, mentions: [bob], reply_to: { seq: 1, message_id: 'M' } });
  await clock.until(() => out.state !== 'queued');
  const { body } = server.requests.findLast(({ action }) => action === Action.MESSAGE);
  assert.deepEqual([body.kind, body.text, body.media, body.mentions, body.reply_to.message_id], [1, 'a caption', media, [bob], 'M']);
  assert.deepEqual([out.message.kind, out.message.media, out.message.text], [1, media, 'a caption']);
});

test('what became of a message is applied in any order: the greatest revision holds', () => {
  const message = { id: 'm', text: 'one', media: {}, mentions: [1] };
  assert.equal(applyBecame(message, { revision: 2, version: 3, edited_ms: 1, text: 'three' }), true);
  assert.equal(applyBecame(message, { revision: 1, version: 2, edited_ms: 1, text: 'two' }), false);
  assert.equal(message.text, 'three');
  assert.equal(applyBecame(message, { revision: 3, version: 3, edited_ms: 1, reactions: [{ reaction: 'x', count: 1 }], text: 'three' }), true);
  assert.equal(applyBecame(message, null), false);
  assert.equal(applyBecame(message, { revision: 4, version: 3, recalled: true }), true);
  assert.deepEqual([message.text, message.media, message.mentions, message.became], ['', null, [], { revision: 4, version: 3, recalled: true }]);
  assert.deepEqual(replyTo({ seq: 1, id: 'm', sender_id: 7, kind: 1 }), { seq: 1, message_id: 'm', sender_id: 7, kind: 1 });
  assert.deepEqual(sourceOf({ conversation_id: 'c', seq: 1, id: 'm' }), { conversation_id: 'c', seq: 1, message_id: 'm' });
});

test('what an event does not tell is read in the message', async () => {
  const { client } = await alice();
  const reads = [];
  client.history = async (conversation, { beforeSeq, limit }) => {
    reads.push([conversation, beforeSeq, limit]);
    return { messages: [{ id: 'x' }, { id: 'm', text: 'two', became: { revision: 2, version: 2, edited_ms: 1, reactions: [{ reaction: 'x', count: 1 }] } }] };
  };
  const event = (became, id = 'm') => ({ conversation_id: 'c', about: { seq: 7, message_id: id }, became });
  const message = { id: 'm', text: 'one' };
  assert.equal(await client.follow(message, event({ revision: 1, version: 2 }, 'other')), false);
  assert.equal(await client.follow(message, event({ revision: 1, version: 2 })), true);
  assert.deepEqual([message.text, message.became.revision, message.became.reactions.length], ['two', 2, 1]);
  assert.equal(await client.follow(message, event({ revision: 2, version: 2 })), false);
  assert.equal(await client.follow(message, event({ revision: 3, version: 2, recalled: true })), true);
  assert.deepEqual([message.text, reads], ['', [['c', 8, 1]]]);
});

test('the demo shows replies, edits, tombstones and reactions in their places, and no row of their own for changes', () => {
  const chat = new Chat('c_1_2', 2);
  const message = (seq, text, more = {}) => ({ id: `m${seq}`, client_id: '', seq, text, kind: 0, time_ms: seq, sender_id: 2, became: null, about: null, ...more });
  const event = (seq, id, became) => message(seq, '', { kind: 8, event: 'chat.edited', about: { seq: 1, message_id: id }, became });
  const edited = { revision: 1, version: 2, edited_ms: 1 };
  chat.put(message(1, 'one'), false);
  chat.put(message(2, 'two', { reply_to: { message_id: 'm1' } }), false);
  assert.equal(chat.put(event(3, 'm1', { revision: 1, version: 2 }), false), chat.items[0]);
  assert.equal(chat.items[0].text, 'one'); // until it is read again
  chat.put(message(1, 'won', { became: edited }), false);
  chat.put(message(4, '', { kind: MessageKind.COMMAND, payload: { name: 'x' } }), false);
  assert.deepEqual(chat.items.map(({ text }) => text), ['won', 'two']);
  assert.equal(chat.quoted(chat.items[1]), 'won');
  chat.put(message(1, 'one'), false); // an older page that comes late
  assert.equal(chat.items[0].text, 'won');
  chat.put(event(5, 'm1', { revision: 2, version: 2, recalled: true }), false);
  assert.equal(chat.quoted(chat.items[1]), 'Message recalled');
  chat.put(message(6, '', { kind: MessageKind.PLACE, place: { name: 'Home' } }), false);
  assert.equal(chat.items[2].text, '📍 Home');
});
