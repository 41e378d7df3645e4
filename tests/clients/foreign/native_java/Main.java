import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * What a RocketMQ tutorial does, with the Java client, compiled for 4.9 and run with 5.x, too: each scenario prints one line, "ok NAME" or "failed NAME: why".
 * Arguments: the name server's address, and what topics and groups begin with.
 */
public class Main {
    static final long PATIENCE_MS = 90_000;
    static String servers;
    static String prefix;

    interface Scenario {
        void run(String topic) throws Exception;
    }

    public static void main(String[] args) throws Exception {
        servers = args[0];
        prefix = args[1];
        List<Thread> all = new ArrayList<>();
        all.add(start("sync-async-oneway", Main::waysToSend));
        all.add(start("tags", Main::tags));
        all.add(start("ordered", Main::ordered));
        all.add(start("delay", Main::delay));
        all.add(start("retry", Main::retry));
        all.add(start("broadcast", Main::broadcast));
        all.add(start("litepull", Main::litePull));
        all.add(start("trace", Main::trace));
        all.add(start("namespace", Main::namespace));
        all.add(start("transaction", Main::transaction));
        for (Thread each : all) each.join();
        System.exit(0); // whatever threads the clients left
    }

    static Thread start(String name, Scenario scenario) {
        Thread thread = new Thread(() -> {
            try {
                scenario.run(prefix + "-" + name);
                System.out.println("ok " + name);
            } catch (Throwable error) {
                System.out.println("failed " + name + ": " + error);
                error.printStackTrace();
            }
        });
        thread.start();
        return thread;
    }

    static Message message(String topic, String tag, String body) {
        return new Message(topic, tag, "key " + tag, body.getBytes(StandardCharsets.UTF_8));
    }

    static DefaultMQProducer producer(String topic) throws Exception {
        return begun(new DefaultMQProducer(topic + "-producers"), topic);
    }

    static <P extends DefaultMQProducer> P begun(P producer, String instance) throws Exception {
        producer.setNamesrvAddr(servers);
        producer.setInstanceName(instance);
        producer.setSendMsgTimeout(20_000);
        producer.start();
        return producer;
    }

    /** Bodies in the order in which they came. */
    static class Seen {
        final List<String> bodies = Collections.synchronizedList(new ArrayList<>());

        void add(MessageExt message) {
            bodies.add(new String(message.getBody(), StandardCharsets.UTF_8));
        }

        ConsumeConcurrentlyStatus take(List<MessageExt> messages) {
            messages.forEach(this::add);
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        }

        void await(boolean inOrder, String... wanted) throws InterruptedException {
            long end = System.currentTimeMillis() + PATIENCE_MS;
            while (bodies.size() < wanted.length && System.currentTimeMillis() < end) Thread.sleep(20);
            List<String> got = new ArrayList<>(bodies);
            if (!inOrder) {
                Collections.sort(got);
                Arrays.sort(wanted);
            }
            check(got.equals(Arrays.asList(wanted)), "got " + got + ", not " + Arrays.asList(wanted));
        }
    }

    static void check(boolean holds, String otherwise) {
        if (!holds) throw new AssertionError(otherwise);
    }

    static DefaultMQPushConsumer consumer(String topic, String instance, MessageSelector selector) throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(topic + "-consumers");
        consumer.setNamesrvAddr(servers);
        consumer.setInstanceName(instance);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(topic, selector);
        return consumer;
    }

    static DefaultMQPushConsumer reading(DefaultMQPushConsumer consumer, MessageListenerConcurrently listener) throws Exception {
        consumer.registerMessageListener(listener);
        consumer.start();
        return consumer;
    }

    static void waysToSend(String topic) throws Exception {
        DefaultMQProducer sender = producer(topic);
        SendResult sent = sender.send(message(topic, "a", "sync"));
        check(sent.getSendStatus() == SendStatus.SEND_OK && sent.getOffsetMsgId().length() == 32, "sent " + sent);
        CountDownLatch answered = new CountDownLatch(1);
        sender.send(message(topic, "a", "async"), new SendCallback() {
            @Override
            public void onSuccess(SendResult result) {
                answered.countDown();
            }

            @Override
            public void onException(Throwable error) {
                error.printStackTrace();
            }
        });
        check(answered.await(PATIENCE_MS, TimeUnit.MILLISECONDS), "an asynchronous send was not answered");
        sender.sendOneway(message(topic, "a", "oneway"));
        sender.send(Arrays.asList(message(topic, "a", "batch-1"), message(topic, "a", "batch-2")));
        String large = String.join(",", Collections.nCopies(20_000, "large")); // the client compresses it
        sender.send(message(topic, "a", large));
        Seen seen = new Seen();
        DefaultMQPushConsumer reader = reading(consumer(topic, topic, MessageSelector.byTag("*")), (messages, context) -> seen.take(messages));
        seen.await(false, "sync", "async", "oneway", "batch-1", "batch-2", large);
        reader.shutdown();
        sender.shutdown();
    }

    static void tags(String topic) throws Exception {
        DefaultMQProducer sender = producer(topic);
        for (String tag : Arrays.asList("a", "b", "c")) {
            Message message = message(topic, tag, tag);
            message.putUserProperty("size", tag.equals("c") ? "10" : "1");
            sender.send(message);
        }
        Seen tagged = new Seen();
        Seen big = new Seen();
        DefaultMQPushConsumer byTag = reading(consumer(topic, topic, MessageSelector.byTag("a || c")), (messages, context) -> tagged.take(messages));
        DefaultMQPushConsumer bySql = new DefaultMQPushConsumer(topic + "-sql");
        bySql.setNamesrvAddr(servers);
        bySql.setInstanceName(topic + "-sql");
        bySql.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        bySql.subscribe(topic, MessageSelector.bySql("size > 5 AND TAGS IS NOT NULL"));
        reading(bySql, (messages, context) -> big.take(messages));
        tagged.await(false, "a", "c");
        big.await(true, "c");
        byTag.shutdown();
        bySql.shutdown();
        sender.shutdown();
    }

    static void ordered(String topic) throws Exception {
        DefaultMQProducer sender = producer(topic);
        String[] wanted = new String[20];
        for (int i = 0; i < wanted.length; i++) {
            wanted[i] = String.format("step %02d", i);
            sender.send(message(topic, "a", wanted[i]), (queues, message, order) -> queues.get((Integer) order % queues.size()), 3);
        }
        Seen seen = new Seen();
        AtomicBoolean refused = new AtomicBoolean();
        DefaultMQPushConsumer reader = consumer(topic, topic, MessageSelector.byTag("*"));
        reader.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
            String body = new String(messages.get(0).getBody(), StandardCharsets.UTF_8);
            if (body.equals(wanted[3]) && refused.compareAndSet(false, true)) {
                return ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT;
            }
            messages.forEach(seen::add);
            return ConsumeOrderlyStatus.SUCCESS;
        });
        reader.start();
        seen.await(true, wanted);
        check(refused.get(), "nothing was refused");
        reader.shutdown();
        sender.shutdown();
    }

    static void delay(String topic) throws Exception {
        DefaultMQProducer sender = producer(topic);
        Message late = message(topic, "a", "late");
        late.setDelayTimeLevel(2); // 5 seconds
        sender.send(late);
        Message timed = message(topic, "a", "timed");
        MessageAccessor.putProperty(timed, "TIMER_DELAY_MS", "1500"); // setDelayTimeMs() of 5.x
        sender.send(timed);
        Seen seen = new Seen();
        DefaultMQPushConsumer reader = reading(consumer(topic, topic, MessageSelector.byTag("*")), (messages, context) -> {
            for (MessageExt each : messages) {
                long age = System.currentTimeMillis() - each.getBornTimestamp();
                boolean level = each.getProperty("TIMER_DELAY_MS") == null;
                check(age >= (level ? 4_900 : 1_400), "it came after " + age + " ms");
            }
            return seen.take(messages);
        });
        seen.await(true, "timed", "late");
        reader.shutdown();
        sender.shutdown();
    }

    static void retry(String topic) throws Exception {
        DefaultMQProducer sender = producer(topic);
        sender.send(message(topic, "a", "again"));
        Seen seen = new Seen();
        List<Integer> times = Collections.synchronizedList(new ArrayList<>());
        DefaultMQPushConsumer reader = reading(consumer(topic, topic, MessageSelector.byTag("*")), (messages, context) -> {
            times.add(messages.get(0).getReconsumeTimes());
            if (messages.get(0).getReconsumeTimes() == 0) {
                context.setDelayLevelWhenNextConsume(1);
                return ConsumeConcurrentlyStatus.RECONSUME_LATER;
            }
            return seen.take(messages);
        });
        seen.await(true, "again");
        check(times.equals(Arrays.asList(0, 1)), "reconsumed " + times);
        reader.shutdown();
        sender.shutdown();
    }

    static void broadcast(String topic) throws Exception {
        DefaultMQProducer sender = producer(topic);
        sender.send(message(topic, "a", "to all"));
        for (String instance : Arrays.asList(topic + "-1", topic + "-2")) {
            Seen seen = new Seen();
            DefaultMQPushConsumer reader = consumer(topic, instance, MessageSelector.byTag("*"));
            broadcasting(reader);
            reading(reader, (messages, context) -> seen.take(messages));
            seen.await(true, "to all");
            reader.shutdown();
        }
        sender.shutdown();
    }

    /** reader.setMessageModel(BROADCASTING), whose type is in another package in 5.x. */
    @SuppressWarnings({"unchecked", "rawtypes"})
    static void broadcasting(DefaultMQPushConsumer reader) throws Exception {
        for (Method each : DefaultMQPushConsumer.class.getMethods()) {
            if (each.getName().equals("setMessageModel")) {
                each.invoke(reader, Enum.valueOf((Class<Enum>) each.getParameterTypes()[0], "BROADCASTING"));
            }
        }
    }

    static void litePull(String topic) throws Exception {
        DefaultMQProducer sender = producer(topic);
        for (String body : Arrays.asList("1", "2", "3")) sender.send(message(topic, "a", body));
        DefaultLitePullConsumer reader = new DefaultLitePullConsumer(topic + "-consumers");
        reader.setNamesrvAddr(servers);
        reader.setInstanceName(topic);
        reader.setAutoCommit(false);
        reader.setMqClientApiTimeout(20_000);
        reader.start();
        Collection<MessageQueue> queues = reader.fetchMessageQueues(topic);
        reader.assign(queues);
        for (MessageQueue each : queues) reader.seekToBegin(each);
        Seen seen = new Seen();
        long end = System.currentTimeMillis() + PATIENCE_MS;
        while (seen.bodies.size() < 3 && System.currentTimeMillis() < end) reader.poll(1000).forEach(seen::add);
        seen.await(false, "1", "2", "3");
        reader.commitSync();
        reader.shutdown();
        sender.shutdown();
    }

    static void trace(String topic) throws Exception {
        DefaultMQProducer sender = begun(new DefaultMQProducer(topic + "-producers", null, true, null), topic);
        String id = sender.send(message(topic, "a", "traced")).getMsgId();
        Seen seen = new Seen();
        DefaultMQPushConsumer reader = new DefaultMQPushConsumer(topic + "-consumers");
        reader.setNamesrvAddr(servers);
        reader.setInstanceName(topic);
        reader.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        reader.subscribe("RMQ_SYS_TRACE_TOPIC", "*");
        reading(reader, (messages, context) -> {
            for (MessageExt each : messages) {
                if (new String(each.getBody(), StandardCharsets.UTF_8).contains(id) && each.getKeys().contains(id)) seen.bodies.add(id);
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        seen.await(true, id);
        reader.shutdown();
        sender.shutdown();
    }

    static void namespace(String topic) throws Exception {
        DefaultMQProducer sender = new DefaultMQProducer(topic + "-producers");
        sender.setNamespace("shop");
        begun(sender, topic);
        sender.send(message(topic, "a", "there"));
        Seen seen = new Seen();
        DefaultMQPushConsumer reader = new DefaultMQPushConsumer(topic + "-consumers");
        reader.setNamespace("shop");
        reader.setNamesrvAddr(servers);
        reader.setInstanceName(topic);
        reader.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        reader.subscribe(topic, "*");
        reading(reader, (messages, context) -> {
            check(messages.get(0).getTopic().equals(topic), "a topic named " + messages.get(0).getTopic());
            return seen.take(messages);
        });
        seen.await(true, "there");
        reader.shutdown();
        sender.shutdown();
    }

    static void transaction(String topic) throws Exception {
        Set<String> asked = ConcurrentHashMap.newKeySet();
        TransactionMQProducer sender = new TransactionMQProducer(topic + "-producers");
        sender.setTransactionListener(new TransactionListener() {
            @Override
            public LocalTransactionState executeLocalTransaction(Message message, Object argument) {
                String body = new String(message.getBody(), StandardCharsets.UTF_8);
                if (body.equals("commit")) return LocalTransactionState.COMMIT_MESSAGE;
                return body.equals("rollback") ? LocalTransactionState.ROLLBACK_MESSAGE : LocalTransactionState.UNKNOW;
            }

            @Override
            public LocalTransactionState checkLocalTransaction(MessageExt message) {
                String body = new String(message.getBody(), StandardCharsets.UTF_8);
                asked.add(body);
                return body.equals("asked commit") ? LocalTransactionState.COMMIT_MESSAGE : LocalTransactionState.ROLLBACK_MESSAGE;
            }
        });
        begun(sender, topic);
        for (String body : Arrays.asList("commit", "rollback", "asked commit", "asked rollback")) {
            sender.sendMessageInTransaction(message(topic, "a", body), null);
        }
        Seen seen = new Seen();
        DefaultMQPushConsumer reader = reading(consumer(topic, topic + "-c", MessageSelector.byTag("*")), (messages, context) -> seen.take(messages));
        seen.await(false, "commit", "asked commit");
        long end = System.currentTimeMillis() + PATIENCE_MS;
        while (!asked.contains("asked rollback") && System.currentTimeMillis() < end) Thread.sleep(20);
        check(asked.contains("asked rollback"), "what became of the other was not asked");
        reader.shutdown();
        sender.shutdown();
    }
}
