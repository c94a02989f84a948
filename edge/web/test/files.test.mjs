import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Files, contentOf, isPicture, sizeText } from '../files.js';
import { MessageKind } from '../freeim.js';

const id = (n) => `${'A'.repeat(24)}${'23456789'[Math.floor(n / 8)]}${'23456789'[n % 8]}`;

/** Files whose questions are answered by `answer`; `drawn` counts when there was more to draw. */
function asked(answer) {
  const questions = [];
  let drawn = () => {};
  const files = new Files(async (ids) => {
    questions.push(ids);
    return answer(ids);
  }, () => drawn());
  return { files, questions, next: () => new Promise((resolve) => { drawn = resolve; }) };
}

const readable = (ids) => ids.map((one) => ({ file: { id: one }, url: `/files/${one}`, expires_ms: Date.now() + 3_600_000 }));

test('what is shown at once is asked for at once, and kept', async () => {
  const { files, questions, next } = asked(readable);
  const addresses = [0, 1, 2].map((n) => `file:${id(n)}`);
  assert.deepEqual(addresses.map((one) => files.url(one)), ['', '', '']);
  await next();
  assert.deepEqual(addresses.map((one) => files.url(one)), [0, 1, 2].map((n) => `/files/${id(n)}`));
  assert.deepEqual(questions, [[0, 1, 2].map(id)]);
});

test('what is gone is not asked for again and again, nor is what nobody answers', async () => {
  const gone = asked(() => []);
  gone.files.url(`file:${id(1)}`);
  await gone.next();
  assert.equal(gone.files.url(`file:${id(1)}`), '');
  assert.equal(gone.questions.length, 1);
  const away = asked(() => { throw new Error('away'); });
  away.files.url(`file:${id(1)}`);
  await away.next();
  for (let i = 0; i < 5; i += 1) away.files.url(`file:${id(1)}`);
  await null;
  assert.equal(away.questions.length, 1);
  away.files.again();
  away.files.url(`file:${id(1)}`);
  await away.next();
  assert.equal(away.questions.length, 2);
});

test('a URL that ends soon, or long ago by this clock, is not asked for at each drawing', async () => {
  for (const life of [30_000, -3_600_000]) {
    const { files, questions, next } = asked((ids) => ids.map((one) => ({ file: { id: one }, url: '/files/x', expires_ms: Date.now() + life })));
    files.url(`file:${id(1)}`);
    await next();
    for (let i = 0; i < 10; i += 1) {
      assert.equal(files.url(`file:${id(1)}`), '/files/x');
      await null;
    }
    assert.equal(questions.length, 1);
  }
});

test('nothing but a file of this server is asked for', () => {
  const { files, questions } = asked(readable);
  for (const address of ['', undefined, 'https://evil.example/a.png', 'file:../key', 'javascript:alert(1)']) assert.equal(files.url(address), '');
  assert.equal(questions.length, 0);
});

test('a question is for fifty at most', async () => {
  const { files, questions, next } = asked(readable);
  for (let n = 0; n < 64; n += 1) files.url(`file:${id(n)}`);
  await next();
  files.url(`file:${id(63)}`);
  await next();
  assert.deepEqual(questions.map(({ length }) => length), [50, 14]);
});

test('a file is the kind of message that a page can show', async () => {
  const of = async (type) => (await contentOf({}, { id: id(1), name: 'a', type, size: 7 })).kind;
  assert.equal(await of('image/png'), MessageKind.IMAGE);
  assert.equal(await of('video/mp4'), MessageKind.VIDEO);
  for (const type of ['image/svg+xml', 'text/html', 'video/quicktime', 'application/octet-stream']) assert.equal(await of(type), MessageKind.FILE, type);
  assert.equal(isPicture('image/svg+xml'), false);
});

test('sizes', () => {
  assert.deepEqual([0, 7, 1500, 3_400_000].map(sizeText), ['', '7 B', '1.5 kB', '3.4 MB']);
});
