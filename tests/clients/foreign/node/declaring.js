import assert from "node:assert/strict";

import { ownQueue, subscribe } from "./checks.js";

export async function declares(connection, channel) {
  const given = await ownQueue(channel);
  assert.match(given, /^amq\.gen-/);
  const prefix = `t-${given.slice(4)}.`;
  for (const kind of ["direct", "fanout", "topic", "headers"]) {
    for (const durable of [true, false]) {
      const name = prefix + kind;
      await channel.assertExchange(name, kind, { durable });
      await channel.assertExchange(name, kind, { durable });
      await channel.checkExchange(name);
      await channel.deleteExchange(name, { ifUnused: true });
    }
  }
  for (const kind of [{ durable: true }, { autoDelete: true }, { exclusive: true }, { durable: true, autoDelete: true }]) {
    const options = { durable: false, messageTtl: 60_000, expires: 600_000, arguments: { "x-unknown": "kept" }, ...kind };
    const name = `${prefix}queue`;
    assert.deepEqual({ ...(await channel.assertQueue(name, options)) }, { queue: name, messageCount: 0, consumerCount: 0 });
    channel.sendToQueue(name, Buffer.from("x"));
    assert.equal((await channel.checkQueue(name)).messageCount, 1);
    assert.equal((await channel.purgeQueue(name)).messageCount, 1);
    assert.equal((await channel.deleteQueue(name, { ifUnused: true, ifEmpty: true })).messageCount, 0);
  }
}

/** The broker's answer to a method that it refuses, on a channel of its own. */
async function refusal(connection, method) {
  const channel = await connection.createChannel();
  channel.on("error", () => {});
  return method(channel).then(
    () => assert.fail("expected a refusal"),
    (error) => error,
  );
}

export async function channelErrors(connection, channel) {
  const queue = await ownQueue(channel);
  const missing = await refusal(connection, (other) => other.checkQueue(`${queue}-none`));
  assert.equal(missing.code, 404);
  assert.ok(missing.message.includes(`"NOT_FOUND - no queue '${queue}-none' in vhost '/'"`), missing.message);
  const unequal = await refusal(connection, (other) => other.assertQueue(queue, { exclusive: true, autoDelete: true }));
  assert.equal(unequal.code, 406);
  assert.ok(unequal.message.includes(`inequivalent arg 'auto_delete' for queue '${queue}'`), unequal.message);
  const reserved = await refusal(connection, (other) => other.assertExchange("amq.mine", "direct"));
  assert.equal(reserved.code, 403);
  await channel.checkQueue(queue); // the other channels go on
}

export async function exchangeToExchange(connection, channel) {
  const queue = await ownQueue(channel);
  const [source, target] = [`t-source-${queue.slice(4)}`, `t-target-${queue.slice(4)}`];
  await channel.assertExchange(source, "topic", { durable: false, autoDelete: true });
  await channel.assertExchange(target, "direct", { durable: false, autoDelete: true });
  await channel.bindExchange(target, source, "a.#");
  await channel.bindQueue(queue, target, "a.b");
  await channel.bindQueue(queue, source, "*.b");
  for (const key of ["a.b", "a.c", "c.b", "c.c"]) channel.publish(source, key, Buffer.from(key));
  const [inbox] = await subscribe(channel, queue, { noAck: true });
  for (const expected of ["a.b", "c.b"]) { // a.b once, though two ways lead there
    assert.equal((await inbox.next(expected)).content.toString(), expected);
  }
  await channel.unbindExchange(target, source, "a.#");
  await channel.unbindQueue(queue, source, "*.b");
  assert.equal((await refusal(connection, (other) => other.checkExchange(source))).code, 404);
}

export async function headersExchange(connection, channel) {
  const [all, any] = [await ownQueue(channel), await ownQueue(channel)];
  const exchange = `t-headers-${all.slice(4)}`;
  await channel.assertExchange(exchange, "headers", { durable: false, autoDelete: true });
  await channel.bindQueue(all, exchange, "", { "x-match": "all", a: 1, b: "two" });
  await channel.bindQueue(any, exchange, "", { "x-match": "any", a: 1, b: "two" });
  for (const headers of [{ a: 1, b: "two", c: true }, { a: 1 }, { b: "two" }, { a: "1" }, {}]) {
    channel.publish(exchange, "", Buffer.alloc(0), { headers });
  }
  assert.equal((await channel.checkQueue(all)).messageCount, 1);
  assert.equal((await channel.checkQueue(any)).messageCount, 3);
}
