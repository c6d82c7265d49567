import jakarta.servlet.FilterChain;
import jakarta.servlet.FilterConfig;
import jakarta.servlet.http.*;
import java.lang.reflect.Proxy;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.*;
import java.util.function.Consumer;

/** What clients/vectors.json says, of MemSessFilter: exits with 0 where all of it holds. Vectors FILE */
public class Vectors {
    interface Check { boolean holds() throws Exception; }

    /** What a request was answered. */
    static class Answer {
        int status = 200;
        Map<String, List<String>> headers = new TreeMap<>();
        Map<String, Object> seen;

        Map<String, String> pairs() {
            Map<String, String> pairs = new TreeMap<>();
            for (String line : headers.getOrDefault("MemSess-Set", List.of())) {
                for (String pair : line.split("&")) {
                    pairs.put(pair.replaceFirst("=.*", ""), MemSessFilter.unescape(pair.replaceFirst("^[^=]*=", "")));
                }
            }
            return pairs;
        }
    }

    static int held, failed;
    static boolean isCommitted;

    static void holds(Object what, Check check) {
        String why = "";
        boolean ok = false;
        try {
            ok = check.holds();
        }
        catch (Exception e) {
            why = e.toString();
        }
        if (ok) {
            held++;
        }
        else {
            failed++;
            System.out.println("does not hold: " + what + " " + why);
        }
    }

    static void refused(Object what, String named, Check check) {
        holds(what, () -> {
            try {
                check.holds();
                return false;
            }
            catch (Exception e) {
                return e.getMessage().contains(named);
            }
        });
    }

    static Object value(String text) { return new MemSessFilter.Codec(null).value(text); }
    static String json(Object value) { return new MemSessFilter.Codec(null).json(value); }
    static boolean bare(Object value) { return value instanceof String text && MemSessFilter.Codec.isBare(text); }
    static String text(Object value) { return bare(value) ? (String) value : json(value); }

    // The same text, or JSON that means the same.
    static boolean same(String one, String other) {
        return one.equals(other) || value(one) != one && value(other) != other && json(value(one)).equals(json(value(other)));
    }

    static boolean equal(Object one, Object other) {
        return one instanceof Double a && other instanceof Number b ? a == b.doubleValue() : Objects.equals(one, other);
    }

    static MemSessFilter filter(String... parameters) {
        Map<String, String> all = new HashMap<>();
        for (int n = 0; n < parameters.length; n += 2) {
            all.put(parameters[n], parameters[n + 1]);
        }
        MemSessFilter filter = new MemSessFilter();
        filter.init(proxy(FilterConfig.class, (name, args) -> name.equals("getInitParameter") ? all.get(args[0]) : null));
        return filter;
    }

    interface Does { Object call(String name, Object[] args) throws Throwable; }

    static <T> T proxy(Class<T> type, Does does) {
        return type.cast(Proxy.newProxyInstance(Vectors.class.getClassLoader(), new Class<?>[] {type},
            (self, method, args) -> does.call(method.getName(), args)));
    }

    static Answer answer(MemSessFilter filter, Map<String, String> headers, Consumer<HttpServletRequest> application)
        throws Exception {
        Answer answer = new Answer();
        Map<String, Object> attributes = new HashMap<>();
        HttpServletRequest in = proxy(HttpServletRequest.class, (name, args) -> switch (name) {
            case "getHeaders" -> Collections.enumeration(headers.containsKey(args[0])
                ? List.of(headers.get(args[0])) : List.of());
            case "getAttribute" -> attributes.get(args[0]);
            case "setAttribute" -> attributes.put((String) args[0], args[1]);
            default -> null;
        });
        HttpServletResponse out = proxy(HttpServletResponse.class, (name, args) -> {
            if (name.equals("addHeader")) {
                answer.headers.computeIfAbsent((String) args[0], k -> new ArrayList<>()).add((String) args[1]);
            }
            if (name.equals("sendError")) {
                answer.status = (Integer) args[0];
            }
            return name.equals("isCommitted") ? isCommitted : null;
        });
        FilterChain chain = (request, response) -> {
            HttpServletRequest wrapped = (HttpServletRequest) request;
            application.accept(wrapped);
            answer.seen = new TreeMap<>();
            HttpSession session = wrapped.getSession();
            Collections.list(session.getAttributeNames()).forEach(k -> answer.seen.put(k, session.getAttribute(k)));
        };
        filter.doFilter(in, out, chain);
        return answer;
    }

    static Map<String, String> active(String data) {
        return new HashMap<>(Map.of("MemSess-State", "active", "MemSess-Id", "id", "MemSess-Data", data));
    }

    static Consumer<HttpServletRequest> put(String key, Object value) {
        return in -> in.getSession().setAttribute(key, value);
    }

    @SuppressWarnings("unchecked")
    static Map<String, Object> map(Object value, String... path) {
        Object at = value;
        for (String key : path) {
            at = ((Map<String, Object>) at).get(key);
        }
        return (Map<String, Object>) at;
    }

    @SuppressWarnings("unchecked")
    static List<Map<String, Object>> list(Map<String, Object> of, String key) { return (List<Map<String, Object>>) of.get(key); }

    @SuppressWarnings("unchecked")
    static List<String> texts(Map<String, Object> of, String key) { return (List<String>) of.get(key); }

    static String at(Map<String, Object> of, String key) { return (String) of.get(key); }

    public static void main(String[] args) throws Exception {
        Map<String, Object> vectors = map(value(Files.readString(Path.of(args[0])).strip()));
        names(vectors);
        values(map(vectors, "values"), map(vectors, "plain"));
        tags(map(vectors, "tags"));
        requests(vectors);
        errors();
        System.out.println(held + " hold, " + failed + " do not");
        System.exit(failed == 0 ? 0 : 1);
    }

    static void names(Map<String, Object> vectors) {
        for (Map<String, Object> v : list(vectors, "names")) {
            holds(v, () -> MemSessFilter.Codec.name(at(v, "key")).equals(v.get("name"))
                && MemSessFilter.Codec.key(at(v, "name")).equals(v.get("key")));
        }
        for (Map<String, Object> v : list(vectors, "names_refused")) {
            refused(v, at(v, "key"), () -> MemSessFilter.Codec.name(at(v, "key")) != null);
        }
        for (String name : texts(map(vectors, "names_left_alone"), "names")) {
            holds(name, () -> MemSessFilter.Codec.key(name) == null);
        }
    }

    static void values(Map<String, Object> values, Map<String, Object> plain) {
        for (Map<String, Object> v : list(values, "both")) {
            holds(v, () -> same(text(v.get("value")), at(v, "text")) && equal(value(at(v, "text")), v.get("value")));
        }
        for (Map<String, Object> v : list(values, "read_only")) {
            holds(v, () -> equal(value(at(v, "text")), v.get("value")));
        }
        for (Map<String, Object> v : list(values, "large_integers")) {
            holds(v, () -> json(value(at(v, "text"))).equals(v.get("text")));
        }
        List<Object> loop = new ArrayList<>();
        loop.add(loop);
        for (Object value : new Object[] {Double.NaN, 1 / 0.0, -1 / 0.0f, new Thread(), Map.of(List.of(), 1), loop}) {
            refused(value.getClass(), "thekey", () -> answer(filter(), active(""), put("thekey", value)) != null);
        }
        MemSessFilter filter = filter("plain", "other, user");
        for (Map<String, Object> v : list(plain, "both")) {
            holds(v, () -> filter.encode("user", v.get("value")).equals(v.get("text"))
                && filter.decode("user", at(v, "text")).equals(v.get("value")));
        }
        for (Map<String, Object> v : list(plain, "write_only")) {
            holds(v, () -> filter.encode("user", v.get("value")).equals(v.get("text")));
        }
        for (String text : texts(map(plain, "refused"), "values")) {
            refused(text, "user", () -> filter.encode("user", text) != null);
        }
    }

    // As the table's own dict was read, whose tags were taken for tags.
    static Object asRead(Object dict) { return value(json(new MemSessFilter.Tagged(map(dict)))); }

    static void tags(Map<String, Object> tags) {
        for (Map<String, Object> v : list(tags, "known")) {
            Map<String, Object> means = map(v, "means");
            Object got = value(at(v, "text"));
            holds(v, () -> means.containsKey("hex") ? HexFormat.of().formatHex((byte[]) got).equals(means.get("hex"))
                : means.containsKey("date") ? ((Instant) got).getEpochSecond() == (Integer) means.get("date")
                : means.containsKey("dict") ? asRead(got).equals(means.get("dict")) && !(got instanceof MemSessFilter.Tagged)
                : got instanceof MemSessFilter.Tagged);
            holds(v, () -> same(json(got), at(v, "text")));
        }
        List<String> kept = new ArrayList<>(texts(map(tags, "kept"), "texts"));
        list(tags, "nested").forEach(v -> kept.add(at(v, "text")));
        for (String text : kept) {
            holds(text, () -> same(json(Arrays.asList(value(text), 1)), "[" + text + ",1]"));
        }
    }

    static void requests(Map<String, Object> vectors) {
        for (Map<String, Object> v : list(vectors, "data")) {
            holds(v, () -> {
                Answer answer = answer(filter(), active(at(v, "data")), in -> { });
                return answer.seen.equals(v.get("dict")) && answer.status == 200 && answer.headers.isEmpty();
            });
        }
        for (Map<String, Object> v : list(map(vectors, "set"), "both")) {
            holds(v, () -> answer(filter(), active(""), put(MemSessFilter.Codec.key(at(v, "name")), v.get("text")))
                .pairs().equals(Map.of(v.get("name"), v.get("text"))));
        }
        for (Map<String, Object> v : list(vectors, "parts")) {
            Map<String, String> headers = new HashMap<>();
            map(v, "variables").forEach((name, text) -> headers.put(header(name), (String) text));
            Check ask = () -> answer(filter(), headers, in -> { }).seen.equals(v.get("dict"));
            if (v.containsKey("error")) {
                refused(v, "DATA", ask);
            }
            else {
                holds(v, ask);
            }
        }
        map(vectors, "states").forEach((state, does) -> holds(state, () -> {
            Map<String, String> headers = active("a=1");
            headers.put("MemSess-State", state);
            Answer answer = answer(filter(), headers, in -> { });
            return does.equals("error") ? answer.status == 503 && answer.seen == null
                : answer.seen.size() == (does.equals("load") ? 1 : 0);
        }));
        list(vectors, "changes").forEach(v -> holds(v, () -> changes(v, v)));
        list(map(vectors, "nulls"), "changes").forEach(v -> holds(v, () -> changes(v, map(v, "dropped"))));
    }

    static boolean changes(Map<String, Object> v, Map<String, Object> wanted) throws Exception {
        Answer answer = answer(filter(), active(at(v, "data")), in -> {
            HttpSession session = in.getSession();
            Map<String, Object> now = map(v, "now");
            Collections.list(session.getAttributeNames()).stream().filter(name -> !now.containsKey(name))
                .forEach(session::removeAttribute);
            now.forEach((name, value) -> {
                if (!Objects.equals(session.getAttribute(name), value)) {
                    session.setAttribute(name, value);
                }
            });
        });
        return answer.pairs().equals(wanted.get("set"))
            && answer.headers.getOrDefault("MemSess-Unset", List.of()).equals(wanted.get("unset"));
    }

    static String header(String variable) {
        StringBuilder header = new StringBuilder();
        for (String word : variable.split("_")) {
            header.append(header.length() == 0 ? "" : "-").append(word.equals("MEMSESS") ? "MemSess"
                : word.charAt(0) + word.substring(1).toLowerCase(Locale.ROOT));
        }
        return header.toString();
    }

    static void errors() {
        String big = "x".repeat(9000);
        refused("absent", "MemSessExpose", () -> answer(filter(), Map.of(), in -> { }) != null);
        refused("state", "odd", () -> answer(filter(), Map.of("MemSess-State", "odd"), in -> { }) != null);
        refused("line", "responsefieldsize", () -> answer(filter(), active(""), put("big", big)) != null);
        refused("line", "attribute big ", () -> answer(filter(), active(""), put("big", big)) != null);
        holds("line", () -> answer(filter("fieldSize", "100000"), active(""), put("big", big)).pairs().size() == 1);
        holds("several lines", () -> {
            Answer answer = answer(filter(), active(""), in -> {
                for (int n = 0; n < 10; n++) {
                    in.getSession().setAttribute("k" + n, "x".repeat(1000));
                }
            });
            List<String> lines = answer.headers.get("MemSess-Set");
            return lines.size() > 2 && answer.pairs().size() == 10 && lines.stream().allMatch(line -> line.length() <= 4000);
        });
        holds("a log-in renews", () -> answer(filter("plain", "user"), active("user=ann"), put("user", "eve")).headers
            .equals(Map.of("MemSess-Set", List.of("user=eve"), "MemSess-Renew", List.of("1"))));
        holds("the end, and a new one", () -> answer(filter("expire", "3600"), active("a=1&b=2"), in -> {
            HttpSession session = in.getSession();
            session.invalidate();
            in.getSession().setAttribute("user", "ann");
        }).headers.equals(Map.of("MemSess-Destroy", List.of("1"), "MemSess-Set", List.of("user=ann"),
            "MemSess-Expire", List.of("3600"))));
        isCommitted = true;
        refused("committed unseen", "after the response", () -> answer(filter(), active(""), put("a", 1)) != null);
        holds("committed unseen, no change", () -> answer(filter(), active("a=1"), in -> { }).status == 200);
        isCommitted = false;
        refused("invalidated", "invalidated", () -> answer(filter(), active("a=1"), in -> {
            HttpSession session = in.getSession();
            session.invalidate();
            session.getAttribute("a");
        }) != null);
    }
}
