import assert from "node:assert/strict";

import amqp from "amqplib";

import { subscribe, within } from "./checks.js";

const RETRY_MS = 100;
const RETRIES = 200;

async function reconnect(url) {
  for (let i = 0; ; i++) {
    try {
      return await amqp.connect(url);
    } catch (error) {
      if (i === RETRIES) throw error;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}

/** amqplib does not recover by itself: its "close" event is the sign to connect anew. */
export async function recoverFromRestart(url) {
  let connection = await amqp.connect(url);
  const closed = new Promise((resolve) => connection.on("close", resolve));
  connection.on("error", () => {});
  let channel = await connection.createConfirmChannel();
  const queue = `t-recovery-${process.pid}-${Date.now()}`;
  await channel.assertQueue(queue, { durable: true });
  channel.sendToQueue(queue, Buffer.from("kept"), { persistent: true });
  await within(channel.waitForConfirms(), "a confirm");
  console.log("connected");

  await within(closed, "the end of the connection");
  connection = await reconnect(url);
  channel = await connection.createConfirmChannel();
  const [inbox] = await subscribe(channel, queue, {});
  const got = await inbox.next("kept");
  assert.equal(`${got.content}`, "kept");
  channel.ack(got);
  await channel.deleteQueue(queue);
  await connection.close();
  console.log("recovered");
}
