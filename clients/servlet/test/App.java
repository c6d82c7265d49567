import jakarta.servlet.ServletException;
import jakarta.servlet.http.*;
import java.io.File;
import java.io.IOException;
import java.io.PrintWriter;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.util.*;
import org.apache.catalina.Context;
import org.apache.catalina.startup.Tomcat;
import org.apache.tomcat.util.descriptor.web.FilterDef;
import org.apache.tomcat.util.descriptor.web.FilterMap;

/** The application of t/406-servlet.t: /NAME?ARGUMENT, the same in all languages. App PORT DIRECTORY */
public class App extends HttpServlet {
    private static final long serialVersionUID = 1;
    private static final byte[] BYTES = new byte[256];
    static {
        for (int n = 0; n < 256; n++) {
            BYTES[n] = (byte) n;
        }
    }

    public static final class Point implements java.io.Serializable {
        private static final long serialVersionUID = 1;
        final int x = 3;
    }

    private static String json(Object value) { return new MemSessFilter.Codec(null).json(value); }

    @Override
    protected void service(HttpServletRequest in, HttpServletResponse out) throws ServletException, IOException {
        String path = in.getRequestURI(), what = path.substring(path.lastIndexOf('/') + 1);
        String query = in.getQueryString() == null ? "" : in.getQueryString();
        String argument = URLDecoder.decode(query, StandardCharsets.UTF_8);
        out.setContentType("text/plain; charset=UTF-8");
        if (what.equals("late")) {
            late(in.getSession(), argument, out);
            return;
        }
        String said = read(in.getSession(false), what, argument);
        if (said == null) {
            said = change(in, what, argument);
        }
        out.getWriter().print(said); // after the change, and before the end: in the container's buffer
    }

    private static String read(HttpSession session, String what, String argument) {
        switch (what) {
            case "get":  return json(session == null ? null : session.getAttribute(argument));
            case "id":   return session == null ? "" : session.getId();
            case "dump": return json(dump(session));
            case "is-bytes":
                return session.getAttribute("bytes") instanceof byte[] b && Arrays.equals(b, BYTES) ? "same" : "other";
            case "is-point":
                return session.getAttribute("point") instanceof Point p && p.x == 3 ? "same" : "other";
            case "untouched": return "nothing";
            default: return null;
        }
    }

    // Without the escape of a key that looks like a tag.
    @SuppressWarnings("unchecked")
    private static Object raw(Object value) {
        return value instanceof Map<?, ?> map ? new MemSessFilter.Tagged((Map<String, Object>) map) : value;
    }

    private static Map<String, Object> dump(HttpSession session) {
        Map<String, Object> all = new TreeMap<>();
        if (session != null) {
            Collections.list(session.getAttributeNames()).forEach(name -> all.put(name, raw(session.getAttribute(name))));
        }
        return all;
    }

    private static String change(HttpServletRequest in, String what, String argument) throws IOException {
        HttpSession session = in.getSession();
        switch (what) {
            case "put":
                String body = new String(in.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
                // No tags: the body is the test's.
                ((Map<?, ?>) new MemSessFilter.Codec(null).value(body)).forEach((k, v) ->
                    session.setAttribute((String) k, v instanceof MemSessFilter.Tagged t ? new HashMap<>(t) : v));
                break;
            case "delete": session.removeAttribute(argument); break;
            case "add":
                Number n = (Number) session.getAttribute(argument);
                session.setAttribute(argument, n == null ? 1 : n.intValue() + 1);
                break;
            case "nested": nested(session); break;
            case "bytes":  session.setAttribute("bytes", BYTES); break;
            case "point":  session.setAttribute("point", new Point()); break;
            case "object": session.setAttribute("object", new Thread()); break;
            case "login":
                in.changeSessionId();
                session.setAttribute("user", argument);
                break;
            case "renew": in.changeSessionId(); break;
            case "switch":
                session.invalidate();
                in.getSession().setAttribute("user", argument);
                break;
            case "logout": session.invalidate(); break;
            case "expire":
                session.setAttribute("kept", 1);
                session.setMaxInactiveInterval(Integer.parseInt(argument));
                break;
            default: throw new IllegalArgumentException("no such thing: " + what);
        }
        return "done\n";
    }

    @SuppressWarnings("unchecked")
    private static void nested(HttpSession session) {
        Map<String, Object> cart = (Map<String, Object>) session.getAttribute("cart");
        if (cart == null) {
            session.setAttribute("cart", cart = new HashMap<>());
        }
        cart.merge("n", 1, (a, b) -> (Integer) a + (Integer) b);
    }

    @SuppressWarnings("unchecked")
    private static void late(HttpSession session, String how, HttpServletResponse out) throws IOException {
        PrintWriter writer = out.getWriter();
        writer.println("begun");
        // What is in the buffer is no beginning; a full one is.
        session.setAttribute("intime", 1);
        session.removeAttribute("intime");
        writer.print("x".repeat(how.equals("full") ? 10000 : 0));
        if (!how.equals("full")) {
            writer.flush();
        }
        if (how.equals("nested")) {
            ((Map<String, Object>) session.getAttribute("cart")).put("n", 1000);
        }
        else {
            session.setAttribute("late", 1);
        }
        writer.println("done");
    }

    @SuppressWarnings("deprecation")
    public static void main(String[] args) throws Exception {
        Tomcat tomcat = new Tomcat();
        tomcat.setBaseDir(args[1]);
        tomcat.setPort(Integer.parseInt(args[0]));
        tomcat.getConnector().setProperty("address", "127.0.0.1");
        tomcat.getConnector().setProperty("maxHttpRequestHeaderSize", "400000");
        tomcat.getConnector().setProperty("maxHttpResponseHeaderSize", "400000");
        Context context = tomcat.addContext("", new File(args[1]).getAbsolutePath());
        FilterDef filter = new FilterDef();
        filter.setFilterName("memsess");
        filter.setFilterClass("MemSessFilter");
        filter.addInitParameter("plain", "user");
        filter.addInitParameter("fieldSize", "400000");
        filter.addInitParameter("serializable", "App$Point");
        context.addFilterDef(filter);
        FilterMap map = new FilterMap();
        map.setFilterName("memsess");
        map.addURLPattern("/*");
        context.addFilterMap(map);
        Tomcat.addServlet(context, "app", new App());
        context.addServletMappingDecoded("/*", "app");
        tomcat.start();
        tomcat.getServer().await();
    }
}
