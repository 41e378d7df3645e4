import java.nio.charset.StandardCharsets;
import java.util.*;
import java.util.concurrent.*;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.*;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.*;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** A push consumer that pops: name server, broker's address, topic. Prints what came, in the order of its texts. */
public class PopMember {
    public static void main(String[] args) {
        try {
            run(args);
        } catch (Throwable error) {
            error.printStackTrace(System.out);
        }
        System.exit(0); // whatever threads are left
    }

    static void run(String[] args) throws Exception {
        String topic = args[2];
        DefaultMQProducer producer = new DefaultMQProducer("producers");
        producer.setNamesrvAddr(args[0]);
        producer.start();
        for (int i = 0; i < 10; i++) {
            producer.send(new Message(topic, i == 5 ? "B" : "A", ("m" + i).getBytes(StandardCharsets.UTF_8)));
        }
        DefaultMQAdminExt admin = new DefaultMQAdminExt();
        admin.setNamesrvAddr(args[0]);
        admin.start();
        admin.setMessageRequestMode(args[1], topic, "poppers", MessageRequestMode.POP, 0, 10000);
        Set<String> got = new ConcurrentSkipListSet<>();
        CountDownLatch before = new CountDownLatch(9), done = new CountDownLatch(10);
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer("poppers");
        consumer.setNamesrvAddr(args[0]);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setClientRebalance(false); // the broker shares queues, and says that they are popped
        consumer.subscribe(topic, "A");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            for (MessageExt message : messages) {
                boolean popped = message.getProperty(MessageConst.PROPERTY_POP_CK) != null;
                got.add(new String(message.getBody(), StandardCharsets.UTF_8) + (popped ? " popped" : " pulled"));
                before.countDown();
                done.countDown();
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        System.out.println("there " + before.await(60, TimeUnit.SECONDS));
        producer.send(new Message(topic, "A", "waited".getBytes(StandardCharsets.UTF_8)));
        System.out.println("waited " + done.await(60, TimeUnit.SECONDS));
        System.out.println(String.join(",", got));
        consumer.shutdown(); // acks are sent before
        producer.shutdown();
        admin.shutdown();
    }
}
