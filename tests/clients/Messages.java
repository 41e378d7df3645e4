import java.nio.charset.StandardCharsets;
import java.util.*;
import java.util.concurrent.*;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.*;
import org.apache.rocketmq.client.producer.*;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.*;

/** Sends in every way and consumes it all: name server, topic. Prints what came, sorted. */
public class Messages {
    static Message message(String topic, String tag, String body) {
        return new Message(topic, tag, "key-" + body.length(), body.getBytes(StandardCharsets.UTF_8));
    }

    public static void main(String[] args) {
        try {
            run(args);
        } catch (Throwable error) {
            error.printStackTrace(System.out);
        }
        System.exit(0); // whatever threads are left
    }

    static void run(String[] args) throws Exception {
        String topic = args[1];
        DefaultMQProducer producer = new DefaultMQProducer("producers");
        producer.setNamesrvAddr(args[0]);
        producer.setSendMsgTimeout(20000);
        producer.start();
        System.out.println("sync " + producer.send(message(topic, "A", "sync")).getSendStatus());
        CountDownLatch sent = new CountDownLatch(1);
        producer.send(message(topic, "A", "async"), new SendCallback() {
            public void onSuccess(SendResult result) {
                System.out.println("async " + result.getSendStatus());
                sent.countDown();
            }
            public void onException(Throwable error) {
                System.out.println("async " + error);
                sent.countDown();
            }
        });
        sent.await();
        producer.sendOneway(message(topic, "A", "oneway"));
        List<Message> batch = List.of(message(topic, "A", "batch-1"), message(topic, "A", "batch-2"));
        System.out.println("batch " + producer.send(batch).getSendStatus());
        Message large = message(topic, "A", "x".repeat(100000));
        System.out.println("large " + producer.send(large).getSendStatus());
        Message delayed = message(topic, "A", "delayed");
        delayed.setDelayTimeLevel(1);
        System.out.println("delayed " + producer.send(delayed).getSendStatus());
        producer.send(message(topic, "B", "unwanted"));
        producer.send(message(topic, "A", "retried"));
        Message timed = message(topic, "A", "timed");
        timed.setDelayTimeMs(500);
        System.out.println("timed " + producer.send(timed).getSendStatus());
        TransactionMQProducer transactions = new TransactionMQProducer("transactions");
        transactions.setNamesrvAddr(args[0]);
        transactions.setTransactionListener(new TransactionListener() {
            public LocalTransactionState executeLocalTransaction(Message half, Object argument) {
                return (LocalTransactionState) argument;
            }
            public LocalTransactionState checkLocalTransaction(MessageExt half) {
                return LocalTransactionState.COMMIT_MESSAGE; // of what nobody knew at first
            }
        });
        transactions.start();
        for (LocalTransactionState state : LocalTransactionState.values()) {
            Message half = message(topic, "A", state.name());
            System.out.println(state + " " + transactions.sendMessageInTransaction(half, state).getSendStatus());
        }
        Set<String> got = new ConcurrentSkipListSet<>();
        CountDownLatch done = new CountDownLatch(11);
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer("consumers");
        consumer.setNamesrvAddr(args[0]);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(topic, "A || C");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            for (MessageExt each : messages) {
                String body = new String(each.getBody(), StandardCharsets.UTF_8);
                if (body.equals("retried") && each.getReconsumeTimes() == 0) {
                    context.setDelayLevelWhenNextConsume(1);
                    return ConsumeConcurrentlyStatus.RECONSUME_LATER;
                }
                if (got.add((body.length() > 20 ? "large" : body) + " " + each.getReconsumeTimes())) done.countDown();
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        System.out.println("all " + done.await(100, TimeUnit.SECONDS));
        System.out.println(String.join(",", got));
        consumer.shutdown();
        producer.shutdown();
        transactions.shutdown();
    }
}
