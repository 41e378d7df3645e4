import assert from "node:assert/strict";

import { Inbox, numbered, ownQueue, subscribe, within } from "./checks.js";

export async function confirms(connection, other) {
  const channel = await connection.createConfirmChannel();
  const queue = `t-confirms-${(await ownQueue(other)).slice(4)}`;
  await channel.assertQueue(queue, { durable: true });
  let confirmed = 0;
  for (let i = 0; i < 1000; i++) {
    channel.sendToQueue(queue, Buffer.from(`${i}`), { persistent: true }, (error) => {
      if (!error) confirmed += 1;
    });
  }
  await within(channel.waitForConfirms(), "confirms");
  assert.equal(confirmed, 1000);
  assert.equal((await channel.deleteQueue(queue)).messageCount, 1000);
}

export async function mandatory(connection) {
  const channel = await connection.createConfirmChannel();
  const order = [];
  channel.on("return", ({ fields, content }) => order.push([fields.replyCode, fields.replyText, fields.routingKey, `${content}`]));
  await within(
    new Promise((resolve) => {
      channel.publish("amq.direct", "nobody", Buffer.from("back"), { mandatory: true }, (error) => {
        order.push(error ?? "ack");
        resolve();
      });
    }),
    "a confirm",
  );
  assert.deepEqual(order, [[312, "NO_ROUTE", "nobody", "back"], "ack"]);
}

export async function prefetch(connection, channel) {
  const queue = await ownQueue(channel);
  numbered(channel, queue, 30);
  await channel.prefetch(10);
  const [inbox, tag] = await subscribe(channel, queue, {});
  for (const held of [10, 20, 30]) {
    let last;
    for (let i = 0; i < 10; i++) last = await inbox.next("a delivery within the prefetch");
    assert.equal(last.fields.deliveryTag, held);
    assert.equal((await channel.checkQueue(queue)).messageCount, 30 - held);
    assert.ok(inbox.empty);
    channel.ack(last, true);
  }
  await channel.cancel(tag);
}

export async function requeue(connection, channel) {
  const queue = await ownQueue(channel);
  numbered(channel, queue, 5);
  const [inbox, tag] = await subscribe(channel, queue, {});
  const held = [];
  for (let i = 0; i < 5; i++) held.push(await inbox.next("a first delivery"));
  assert.ok(held.every((each) => !each.fields.redelivered));
  await channel.cancel(tag);
  channel.nack(held[3], false, true);
  channel.reject(held[1], true);
  channel.nack(held[0], false, false);
  channel.ack(held[2]);
  channel.nackAll(true); // all that is left: 4
  for (const expected of ["1", "3", "4"]) {
    const got = await channel.get(queue, { noAck: true });
    assert.equal(`${got.content}`, expected);
    assert.ok(got.fields.redelivered);
  }
}

export async function gets(connection, channel) {
  const queue = await ownQueue(channel);
  assert.equal(await channel.get(queue), false);
  numbered(channel, queue, 3);
  for (const left of [2, 1, 0]) {
    const got = await channel.get(queue);
    assert.equal(got.fields.messageCount, left);
    channel.ack(got);
  }
}

export async function headerTypes(connection, channel) {
  const queue = await ownQueue(channel);
  const plain = {
    t: true,
    b: -3,
    s: -300,
    I: -70000,
    l: 2 ** 50,
    d: 2.25,
    S: "text é",
    x: Buffer.from([0, 255]),
    A: [1, "two", [false], { in: "array" }],
    F: { nested: { deeper: 1 }, empty: {} },
    V: null,
    T: { "!": "timestamp", value: 4102444800 },
    D: { "!": "decimal", value: { places: 2, digits: 12345 } },
  };
  const explicit = { f: { "!": "float", value: 0.5 }, i8: { "!": "int8", value: 5 }, i64: { "!": "int64", value: 5 } };
  channel.sendToQueue(queue, Buffer.alloc(0), { headers: { ...plain, ...explicit } });
  const { headers } = (await channel.get(queue, { noAck: true })).properties;
  assert.deepEqual({ ...headers }, { ...plain, f: 0.5, i8: 5, i64: 5 });
}

export async function properties(connection, channel) {
  const queue = await ownQueue(channel);
  const sent = {
    headers: { h: "1" },
    contentType: "text/plain",
    contentEncoding: "utf-8",
    deliveryMode: 2,
    priority: 7,
    correlationId: "corr",
    replyTo: "answers",
    expiration: "60000",
    messageId: "id-1",
    timestamp: 1700000000,
    type: "kind",
    userId: "guest",
    appId: "app",
    clusterId: undefined,
  };
  channel.sendToQueue(queue, Buffer.alloc(0), sent);
  const got = await channel.get(queue, { noAck: true });
  assert.deepEqual({ ...got.properties, headers: { ...got.properties.headers } }, sent);
  assert.equal(got.content.length, 0);
}

export async function cancelNotice(connection, channel) {
  const queue = await ownQueue(channel);
  const [inbox] = await subscribe(channel, queue, {});
  await (await connection.createChannel()).deleteQueue(queue);
  assert.equal(await inbox.next("basic.cancel"), null);
  await ownQueue(channel); // the channel goes on
}

export async function bigMessage(connection, channel) {
  const queue = await ownQueue(channel);
  const body = Buffer.alloc(16 << 20, "0123456789abcdef");
  channel.sendToQueue(queue, body);
  numbered(channel, queue, 1);
  const [inbox] = await subscribe(channel, queue, { noAck: true });
  assert.ok((await inbox.next("the big one")).content.equals(body));
  assert.equal(`${(await inbox.next("the small one")).content}`, "0");
}

export async function manyChannels(connection) {
  async function use() {
    const channel = await connection.createChannel();
    const queue = await ownQueue(channel);
    const [inbox] = await subscribe(channel, queue, { noAck: true });
    numbered(channel, queue, 10);
    for (let i = 0; i < 10; i++) assert.equal(`${(await inbox.next("a delivery")).content}`, `${i}`);
    await channel.close();
  }
  await Promise.all(Array.from({ length: 200 }, use));
}
