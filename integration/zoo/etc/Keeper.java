import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.Executors;

/** Keeps what it gets: /put/TOKEN. */
public class Keeper {
    public static void main(String[] arguments) throws Exception {
        Queue<String> kept = new ConcurrentLinkedQueue<>();
        HttpServer server = HttpServer.create(new InetSocketAddress(8000), 50);
        server.setExecutor(Executors.newFixedThreadPool(4));
        server.createContext("/", exchange -> {
            String path = exchange.getRequestURI().getPath();
            if (path.startsWith("/put/")) {
                kept.add(path.substring(5));
            }
            byte[] body = (path.equals("/healthz") ? "ok" : String.join("\n", kept)).getBytes();
            exchange.sendResponseHeaders(200, body.length == 0 ? -1 : body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        });
        server.start();
    }
}
