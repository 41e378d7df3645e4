import java.nio.charset.StandardCharsets;
import java.util.List;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.selector.SelectMessageQueueByHash;
import org.apache.rocketmq.client.utils.MessageUtil;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** RocketMQ's own client beside ours. NAMESRV TOPIC GROUP: sends, asks TOPIC-asked, then consumes as a member of the group
 *  and answers what has the tag ASK, until killed. */
public class Member {
    public static void main(String[] arguments) throws Exception {
        String topic = arguments[1];
        DefaultMQProducer producer = new DefaultMQProducer("java-" + arguments[2]);
        producer.setNamesrvAddr(arguments[0]);
        producer.start();
        Message big = new Message(topic, "TagJ", "key1 key2", "j".repeat(5000).getBytes(StandardCharsets.UTF_8));
        big.putUserProperty("mine", "\u00e9");
        producer.send(big);
        for (String key : new String[] {"a", "customer-7", "polygenelubricants"}) {
            Message keyed = new Message(topic, key.getBytes(StandardCharsets.UTF_8));
            say("KEY " + key + " " + producer.send(keyed, new SelectMessageQueueByHash(), key).getMessageQueue().getQueueId());
        }
        Message asks = new Message(topic + "-asked", "java asks".getBytes(StandardCharsets.UTF_8));
        say("REPLY " + new String(producer.request(asks, 20000).getBody(), StandardCharsets.UTF_8));

        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(arguments[2]);
        consumer.setNamesrvAddr(arguments[0]);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.stream().filter(each -> "ASK".equals(each.getTags())).forEach(each -> reply(producer, each));
            messages.forEach(each -> say("GOT " + each.getQueueId() + " " + each.getTags() + " " + each.getKeys() + " "
                + each.getBody().length + " " + each.getUserProperty("mine") + " " + each.getMsgId()));
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        say("STARTED");
        Thread.sleep(Long.MAX_VALUE);
    }

    private static void reply(DefaultMQProducer producer, MessageExt asked) {
        try {
            producer.send(MessageUtil.createReplyMessage(asked, "java answers".getBytes(StandardCharsets.UTF_8)));
        } catch (Exception error) {
            say("FAILED " + error);
        }
    }

    private static synchronized void say(String line) {
        System.out.println(line);
        System.out.flush();
    }
}
