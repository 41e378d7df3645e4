import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.Delivery;
import com.rabbitmq.client.GetResponse;
import com.rabbitmq.client.MessageProperties;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** Publishing, consuming, and what becomes of a message in between. */
final class Messages {
    private Messages() {}

    static void confirms(Connection connection, Channel channel) throws Exception {
        String queue = "t-confirms-" + Checks.ownQueue(channel).substring(4);
        channel.queueDeclare(queue, true, false, false, null);
        channel.confirmSelect();
        for (int i = 0; i < 1000; i++) {
            Checks.equal((long) i + 1, channel.getNextPublishSeqNo());
            channel.basicPublish("", queue, MessageProperties.PERSISTENT_TEXT_PLAIN, ("" + i).getBytes());
        }
        Checks.check(channel.waitForConfirms(Checks.PATIENCE_SECONDS * 1000), "a nack");
        Checks.equal(1000, channel.queueDelete(queue).getMessageCount());
    }

    static void mandatory(Connection connection, Channel channel) throws Exception {
        BlockingQueue<String> order = new LinkedBlockingQueue<>();
        channel.addReturnListener(back -> order.add(back.getReplyCode() + " " + back.getReplyText() + " "
                + back.getRoutingKey() + " " + new String(back.getBody())));
        channel.addConfirmListener((tag, multiple) -> order.add("ack " + tag), (tag, multiple) -> order.add("nack"));
        channel.confirmSelect();
        channel.basicPublish("amq.direct", "nobody", true, Checks.NONE, "back".getBytes());
        for (String expected : List.of("312 NO_ROUTE nobody back", "ack 1")) {
            Checks.equal(expected, Checks.next(order, expected));
        }
    }

    static void prefetch(Connection connection, Channel channel) throws Exception {
        String queue = Checks.ownQueue(channel);
        Checks.numbered(channel, queue, 30);
        channel.basicQos(10);
        BlockingQueue<Delivery> inbox = Checks.subscribe(channel, queue, false, "mine");
        for (int held = 10; held <= 30; held += 10) {
            long last = 0;
            for (int i = 0; i < 10; i++) {
                last = Checks.next(inbox, "a delivery within the prefetch").getEnvelope().getDeliveryTag();
            }
            Checks.equal((long) held, last);
            Checks.equal(30 - held, Checks.ready(channel, queue));
            Checks.equal(1L, channel.consumerCount(queue));
            Checks.check(inbox.isEmpty(), "more than the prefetch");
            channel.basicAck(last, true);
        }
        channel.basicCancel("mine");
    }

    static void requeue(Connection connection, Channel channel) throws Exception {
        String queue = Checks.ownQueue(channel);
        Checks.numbered(channel, queue, 5);
        BlockingQueue<Delivery> inbox = Checks.subscribe(channel, queue, false, "first");
        List<Long> tags = new ArrayList<>();
        for (int i = 0; i < 5; i++) {
            Delivery each = Checks.next(inbox, "a first delivery");
            Checks.check(!each.getEnvelope().isRedeliver(), "redelivered on the first delivery");
            tags.add(each.getEnvelope().getDeliveryTag());
        }
        channel.basicCancel("first");
        channel.basicNack(tags.get(3), false, true);
        channel.basicReject(tags.get(1), true);
        channel.basicNack(tags.get(0), false, false);
        channel.basicAck(tags.get(2), false);
        channel.basicRecover(true); // all that is left: 4
        for (String expected : List.of("1", "3", "4")) {
            GetResponse got = channel.basicGet(queue, true);
            Checks.equal(expected, new String(got.getBody()));
            Checks.check(got.getEnvelope().isRedeliver(), "not redelivered");
        }
    }

    static void gets(Connection connection, Channel channel) throws Exception {
        String queue = Checks.ownQueue(channel);
        Checks.equal(null, channel.basicGet(queue, false));
        Checks.numbered(channel, queue, 3);
        for (int left = 2; left >= 0; left--) {
            GetResponse got = channel.basicGet(queue, false);
            Checks.equal(left, got.getMessageCount());
            channel.basicAck(got.getEnvelope().getDeliveryTag(), false);
        }
    }

    static void cancelNotice(Connection connection, Channel channel) throws Exception {
        String queue = Checks.ownQueue(channel);
        BlockingQueue<String> cancelled = new LinkedBlockingQueue<>();
        channel.basicConsume(queue, false, "doomed", (tag, delivery) -> {}, cancelled::add);
        connection.createChannel().queueDelete(queue);
        Checks.equal("doomed", Checks.next(cancelled, "basic.cancel"));
        Checks.ownQueue(channel); // the channel goes on
    }

    static void manyChannels(Connection connection, Channel unused) throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(16);
        List<Future<?>> all = new ArrayList<>();
        for (int i = 0; i < 200; i++) {
            all.add(pool.submit(() -> {
                Channel channel = connection.createChannel();
                String queue = Checks.ownQueue(channel);
                BlockingQueue<Delivery> inbox = Checks.subscribe(channel, queue, true, "");
                Checks.numbered(channel, queue, 10);
                for (int n = 0; n < 10; n++) {
                    Checks.equal("" + n, Checks.text(Checks.next(inbox, "a delivery")));
                }
                channel.close();
                return null;
            }));
        }
        for (Future<?> each : all) {
            each.get(Checks.PATIENCE_SECONDS, TimeUnit.SECONDS);
        }
        pool.shutdown();
    }
}
