/* Licensed under the Apache License, Version 2.0; see LICENSE.
 *
 * The HttpSession of servlets, kept by mod_memsess: a <filter> for /*, before all others. The session
 * comes with the request and changes leave with the response, as docs/adapters.md says; README.md
 * beside this file says what an application should know.
 */
import jakarta.servlet.*;
import jakarta.servlet.http.*;
import java.io.*;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.ZonedDateTime;
import java.time.format.DateTimeFormatter;
import java.util.*;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

public class MemSessFilter implements Filter {
    private static final int LINE = 4000;       // bytes of pairs in one MemSess-Set
    private static final int FIELD_SIZE = 8192; // what httpd takes as a header line
    private static final int REST = 32;         // of that is for the header's name and the line's end
    private static final String STATE = MemSessFilter.class.getName();
    private static final String LATE = "The session was changed after the response had begun: this change is lost. "
        + "Change the session before the response is committed.";

    private Set<String> plain = Set.of();
    private int fieldSize = FIELD_SIZE;
    private Integer expire;
    private ObjectInputFilter serializable;
    private ServletContext context;

    /** Init parameters: plain, names by comma, whose strings are stored as they are, a
     *  log-in, so that another value brings a new id; expire, seconds
     *  without a request, for a session that begins here; fieldSize, what responsefieldsize= of
     *  ProxyPass says, if it does; serializable, a pattern of java.io.ObjectInputFilter, the classes
     *  that may be serialized. */
    @Override
    public void init(FilterConfig config) {
        context = config.getServletContext();
        if (config.getInitParameter("plain") != null) {
            plain = Set.of(config.getInitParameter("plain").trim().split("\\s*,\\s*"));
        }
        if (config.getInitParameter("fieldSize") != null) {
            fieldSize = Integer.parseInt(config.getInitParameter("fieldSize").trim());
        }
        if (config.getInitParameter("expire") != null) {
            expire = Integer.valueOf(config.getInitParameter("expire").trim());
        }
        if (config.getInitParameter("serializable") != null) {
            serializable = ObjectInputFilter.Config.createFilter(config.getInitParameter("serializable") + ";!*");
        }
    }

    @Override
    public void doFilter(ServletRequest request, ServletResponse response, FilterChain chain)
        throws IOException, ServletException {
        if (!(request instanceof HttpServletRequest in) || !(response instanceof HttpServletResponse out)) {
            chain.doFilter(request, response);
            return;
        }
        if (in.getAttribute(STATE) instanceof State state) { // a dispatch within the request
            chain.doFilter(in instanceof Request ? in : new Request(in, state), out);
            return;
        }
        State state = load(in);
        if (state == null) {
            out.setHeader("Retry-After", "2");
            out.sendError(503, "The session cannot be read now: the session servers do not answer.");
            return;
        }
        in.setAttribute(STATE, state);
        Response wrapped = new Response(out, state);
        chain.doFilter(new Request(in, state), wrapped);
        wrapped.end();
    }

    // ---- what mod_memsess says ----

    private State load(HttpServletRequest in) throws ServletException {
        String is = header(in, "MemSess-State");
        if (is == null) {
            throw new ServletException("mod_memsess is not in front of this application, or this section of its "
                + "configuration lacks MemSess On, or MemSessExpose headers.");
        }
        State state = new State();
        state.id = header(in, "MemSess-Id");
        switch (is) {
            case "unavailable":
                return null;
            case "active":
                state.active = state.exists = true;
                read(in, state.values);
                break;
            case "none": case "unknown": case "expired": case "invalid":
                break;
            default:
                throw new ServletException("mod_memsess says that the session is \"" + is + "\": this adapter is older "
                    + "than the module, and does not know that.");
        }
        state.before = encode(state.values);
        return state;
    }

    private static String header(HttpServletRequest in, String name) {
        Enumeration<String> lines = in.getHeaders(name);
        return lines.hasMoreElements() ? String.join("", Collections.list(lines)) : null;
    }

    // Form encoding has no commas: one is where repeated headers were joined.
    private static String data(HttpServletRequest in) throws ServletException {
        String parts = header(in, "MemSess-Data-Parts");
        if (parts == null) {
            return part(in, "").replaceAll(", *", "");
        }
        if (!parts.matches("[1-9][0-9]{0,5}")) {
            throw new ServletException("MEMSESS_DATA_PARTS is no number: " + parts);
        }
        StringBuilder data = new StringBuilder();
        for (int n = 1; n <= Integer.parseInt(parts); n++) {
            data.append(part(in, "-" + n));
        }
        return data.toString();
    }

    private static String part(HttpServletRequest in, String number) throws ServletException {
        String part = header(in, "MemSess-Data" + number);
        if (part == null) {
            throw new ServletException("The session's data are lost on the way: MEMSESS_DATA" + number + " is missing. "
                + "They are too long for what is between httpd and here; see the table of limits, and MemSessExposeKeys.");
        }
        return part;
    }

    private void read(HttpServletRequest in, Map<String, Object> values) throws ServletException {
        for (String pair : data(in).split("&")) {
            int at = pair.indexOf('=');
            String key = at < 1 ? null : Codec.key(unescape(pair.substring(0, at)));
            if (key != null) {
                values.put(key, decode(key, unescape(pair.substring(at + 1))));
            }
        }
    }

    // ---- values and texts ----

    Map<String, String> encode(Map<String, Object> values) {
        Map<String, String> encoded = new TreeMap<>();
        for (Map.Entry<String, Object> entry : values.entrySet()) {
            encoded.put(Codec.name(entry.getKey()), encode(entry.getKey(), entry.getValue()));
        }
        return encoded;
    }

    String encode(String key, Object value) {
        try {
            boolean bare = plain.contains(key);
            if (bare && value instanceof String text && text.indexOf('\0') >= 0) {
                throw new IllegalArgumentException("a plain value cannot have a NUL");
            }
            return value instanceof String text && (bare || Codec.isBare(text)) ? text : new Codec(serializable).json(value);
        }
        catch (IllegalArgumentException e) {
            throw new IllegalArgumentException("The session's key \"" + key + "\": " + e.getMessage(), e);
        }
    }

    Object decode(String key, String text) {
        return plain.contains(key) ? text : new Codec(serializable).value(text);
    }

    static String escape(String text) {
        StringBuilder escaped = new StringBuilder();
        for (byte b : text.getBytes(StandardCharsets.UTF_8)) {
            if (b >= '0' && b <= '9' || b >= 'A' && b <= 'Z' || b >= 'a' && b <= 'z' || "_.-~".indexOf(b) >= 0) {
                escaped.append((char) b);
            }
            else {
                escaped.append(String.format("%%%02X", b & 255));
            }
        }
        return escaped.toString();
    }

    static String unescape(String form) {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        for (int n = 0; n < form.length(); n++) {
            char c = form.charAt(n);
            if (c == '%' && n + 2 < form.length() && Character.digit(form.charAt(n + 1), 16) >= 0
                && Character.digit(form.charAt(n + 2), 16) >= 0) {
                bytes.write(Integer.parseInt(form.substring(n + 1, n + 3), 16));
                n += 2;
            }
            else {
                bytes.write(c == '+' ? ' ' : c);
            }
        }
        return bytes.toString(StandardCharsets.UTF_8);
    }

    // ---- the session of one request ----

    private static final class State {
        String id;                                         // the public one
        boolean active, exists, destroyed, renewed, closed; // closed: the response has begun
        final Map<String, Object> values = new LinkedHashMap<>();
        Map<String, String> before = new TreeMap<>();      // attribute names to texts, as they came
        Map<String, String> written = new TreeMap<>();     // and as they left
        Integer expire;
        Session session;
    }

    private final class Session implements HttpSession {
        private final State state;
        private final boolean isNew;
        private final long time = System.currentTimeMillis();
        private boolean over;

        Session(State state, boolean isNew) {
            this.state = state;
            this.isNew = isNew;
        }

        private Map<String, Object> values() {
            if (over) {
                throw new IllegalStateException("This session was invalidated.");
            }
            return state.values;
        }

        private Map<String, Object> toChange() {
            if (state.closed) {
                throw new IllegalStateException(LATE);
            }
            return values();
        }

        @Override public Object getAttribute(String name) { return values().get(name); }
        @Override public Enumeration<String> getAttributeNames() {
            return Collections.enumeration(new ArrayList<>(values().keySet()));
        }
        @Override public void removeAttribute(String name) { toChange().remove(name); }
        @Override public void setAttribute(String name, Object value) {
            if (value == null) {
                removeAttribute(name);
                return;
            }
            Codec.name(name);
            encode(name, value); // so that what cannot be stored is told of here
            toChange().put(name, value);
        }
        @Override public void invalidate() {
            toChange().clear();
            state.before = new TreeMap<>();
            state.destroyed = true;
            state.exists = false;
            state.session = null;
            over = true;
        }
        @Override public void setMaxInactiveInterval(int seconds) {
            toChange();
            state.expire = Math.max(0, seconds);
        }
        @Override public int getMaxInactiveInterval() { return state.expire == null ? 0 : state.expire; }
        @Override public boolean isNew() { values(); return isNew; }
        @Override public String getId() { return state.id == null || state.destroyed ? "" : state.id; }
        @Override public long getCreationTime() { values(); return time; }
        @Override public long getLastAccessedTime() { values(); return time; }
        @Override public ServletContext getServletContext() { return context; }
    }

    private final class Request extends HttpServletRequestWrapper {
        private final State state;

        Request(HttpServletRequest request, State state) {
            super(request);
            this.state = state;
        }

        @Override public HttpSession getSession() { return getSession(true); }
        @Override public HttpSession getSession(boolean create) {
            if (state.session == null && (state.exists || create)) {
                state.session = new Session(state, !state.exists);
                state.exists = true;
            }
            return state.session;
        }
        @Override public String changeSessionId() {
            HttpSession session = getSession(false);
            if (session == null) {
                throw new IllegalStateException("There is no session, whose id could change.");
            }
            if (state.closed) {
                throw new IllegalStateException(LATE);
            }
            state.renewed = true;
            return session.getId();
        }
        @Override public String getRequestedSessionId() { return state.id; }
        @Override public boolean isRequestedSessionIdValid() { return state.active && !state.destroyed; }
        @Override public boolean isRequestedSessionIdFromCookie() { return state.active; }
        @Override public boolean isRequestedSessionIdFromURL() { return false; }
    }

    // ---- the headers that say what has changed, before the response is committed ----

    private void write(State state, HttpServletResponse out) {
        state.closed = true;
        Map<String, String> after = encode(state.values);
        List<String> set = new ArrayList<>(), unset = new ArrayList<>(state.before.keySet());
        unset.removeAll(after.keySet());
        after.forEach((name, text) -> {
            if (!text.equals(state.before.get(name))) {
                set.add(name + "=" + escape(text));
                state.renewed |= plain.contains(Codec.key(name));
            }
        });
        List<String> sets = batches(set), unsets = batches(unset);
        Integer seconds = state.expire != null || set.isEmpty() || state.active && !state.destroyed ? state.expire : expire;
        boolean changes = state.destroyed || state.renewed || seconds != null || !sets.isEmpty() || !unsets.isEmpty();
        if (changes && out.isCommitted()) { // in a way that this filter does not know
            throw new IllegalStateException(LATE);
        }
        if (state.destroyed) {
            out.addHeader("MemSess-Destroy", "1");
        }
        unsets.forEach(line -> out.addHeader("MemSess-Unset", line));
        sets.forEach(line -> out.addHeader("MemSess-Set", line));
        if (state.renewed) {
            out.addHeader("MemSess-Renew", "1");
        }
        if (seconds != null) {
            out.addHeader("MemSess-Expire", seconds.toString());
        }
        state.written = after;
    }

    private List<String> batches(List<String> pairs) {
        List<String> lines = new ArrayList<>();
        for (String pair : pairs) {
            int last = lines.size() - 1;
            if (pair.length() > fieldSize - REST) {
                throw new IllegalStateException("The session's attribute " + pair.replaceFirst("=.*", "") + " is too long "
                    + "for a header line: " + pair.length() + " bytes in form encoding, and " + (fieldSize - REST) + " are "
                    + "the most. Split it over several keys, or raise responsefieldsize= on ProxyPass, and give "
                    + "MemSessFilter the same number as fieldSize.");
            }
            if (last >= 0 && lines.get(last).length() + 1 + pair.length() <= LINE) {
                lines.set(last, lines.get(last) + "&" + pair);
            }
            else {
                lines.add(pair);
            }
        }
        return lines;
    }

    /** Knows when the container is about to commit: when its buffer is full, and where it is told to. */
    private final class Response extends HttpServletResponseWrapper {
        private final State state;
        private long sent, length = -1;
        private boolean done;
        private ServletOutputStream stream;
        private PrintWriter writer; // has no buffer of its own

        Response(HttpServletResponse response, State state) {
            super(response);
            this.state = state;
        }

        // What was changed within a value, after the response began, is found here.
        void end() {
            boolean early = done;
            commit();
            if (early && !state.written.equals(encodeOrNothing())) {
                throw new IllegalStateException(LATE);
            }
        }

        private void commit() {
            if (done) {
                return;
            }
            done = true;
            try {
                write(state, (HttpServletResponse) getResponse());
            }
            catch (RuntimeException e) {
                state.written = encodeOrNothing();
                throw e;
            }
        }

        private Map<String, String> encodeOrNothing() {
            try {
                return encode(state.values);
            }
            catch (RuntimeException e) {
                return Map.of();
            }
        }

        private void sends(long bytes) {
            sent += bytes;
            if (sent >= getBufferSize() || length >= 0 && sent >= length) {
                commit();
            }
        }

        @Override public void flushBuffer() throws IOException {
            commit();
            super.flushBuffer();
        }
        @Override public void sendError(int status) throws IOException {
            commit();
            super.sendError(status);
        }
        @Override public void sendError(int status, String message) throws IOException {
            commit();
            super.sendError(status, message);
        }
        @Override public void sendRedirect(String location) throws IOException {
            commit();
            super.sendRedirect(location);
        }
        @Override public void resetBuffer() { super.resetBuffer(); sent = 0; }
        @Override public void reset() {
            super.reset();
            sent = 0;
            if (done) { // the session's headers are gone with the others
                write(state, (HttpServletResponse) getResponse());
            }
        }
        @Override public void setContentLength(int bytes) { length = bytes; super.setContentLength(bytes); }
        @Override public void setContentLengthLong(long bytes) { length = bytes; super.setContentLengthLong(bytes); }
        @Override public String encodeURL(String url) { return url; }
        @Override public String encodeRedirectURL(String url) { return url; }

        @Override public ServletOutputStream getOutputStream() throws IOException {
            if (stream == null) {
                stream = new Stream(super.getOutputStream());
            }
            return stream;
        }

        @Override public PrintWriter getWriter() throws IOException {
            if (writer == null) {
                writer = new PrintWriter(new Counting(super.getWriter()));
            }
            return writer;
        }

        private final class Stream extends ServletOutputStream {
            private final ServletOutputStream out;

            Stream(ServletOutputStream out) { this.out = out; }

            @Override public boolean isReady() { return out.isReady(); }
            @Override public void setWriteListener(WriteListener listener) { commit(); out.setWriteListener(listener); }
            @Override public void write(int b) throws IOException { sends(1); out.write(b); }
            @Override public void write(byte[] b, int at, int count) throws IOException { sends(count); out.write(b, at, count); }
            @Override public void flush() throws IOException { commit(); out.flush(); }
            @Override public void close() throws IOException { commit(); out.close(); }
        }

        private final class Counting extends Writer {
            private final PrintWriter out;

            Counting(PrintWriter out) { this.out = out; }

            @Override public void write(char[] text, int at, int count) throws IOException {
                sends(new String(text, at, count).getBytes(getCharacterEncoding()).length);
                out.write(text, at, count);
            }
            @Override public void flush() { commit(); out.flush(); }
            @Override public void close() { commit(); out.close(); }
        }
    }

    // ---- keys to attribute names, values to JSON, and back ----

    /** A JSON object that is a tag of another language's: it is kept as it is. */
    public static final class Tagged extends LinkedHashMap<String, Object> {
        private static final long serialVersionUID = 1;

        Tagged(Map<String, Object> object) { super(object); }
    }

    static final class Codec {
        private static final Pattern NAME = Pattern.compile("(?!\\.\\.)[A-Za-z0-9_.-]{1,64}");
        private static final Pattern ESCAPED = Pattern.compile("\\.([0-9A-Fa-f]{2})");
        private static final Pattern NUMBER =
            Pattern.compile("-?(?:0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]+)?");
        private static final int DEPTH = 500;

        private final ObjectInputFilter serializable;
        private String text;
        private int at, depth;

        Codec(ObjectInputFilter serializable) { this.serializable = serializable; }

        static String name(String key) {
            if (NAME.matcher(key).matches()) {
                return key;
            }
            StringBuilder name = new StringBuilder("..");
            for (byte b : key.getBytes(StandardCharsets.UTF_8)) {
                boolean safe = b >= '0' && b <= '9' || b >= 'A' && b <= 'Z' || b >= 'a' && b <= 'z' || b == '_' || b == '-';
                name.append(safe ? String.valueOf((char) b) : String.format(".%02X", b & 255));
            }
            if (name.length() > 64) {
                throw new IllegalArgumentException("The session's key \"" + key + "\" cannot be stored: as the name of an "
                    + "attribute it has " + name.length() + " characters, and 64 are the most. Use a shorter key.");
            }
            return name.toString();
        }

        /** null where no key leads to the name. */
        static String key(String name) {
            if (!name.startsWith("..")) {
                return name;
            }
            if (name.length() > 64) {
                return null;
            }
            String form = name.substring(2).replace("%", "%25").replace("+", "%2B");
            String key = unescape(ESCAPED.matcher(form).replaceAll("%$1"));
            return name.equals(key.length() > 64 ? null : name(key)) ? key : null;
        }

        static boolean isBare(String text) {
            return !text.startsWith("\"") && text.indexOf('\0') < 0 && new Codec(null).value(text) == text;
        }

        /** What the text means as JSON; the text itself, the very object, where it is none. */
        Object value(String json) {
            text = json;
            at = depth = 0;
            if (json.isEmpty() || !json.equals(json.strip())) {
                return json;
            }
            try {
                Object value = parse();
                return at == text.length() ? value : json;
            }
            catch (NotJson | StringIndexOutOfBoundsException e) {
                return json;
            }
        }

        private static final class NotJson extends RuntimeException {
            private static final long serialVersionUID = 1;

            NotJson() { super(null, null, false, false); }
        }

        private Object parse() {
            switch (text.charAt(at)) {
                case '{': return object();
                case '[': return array();
                case '"': return string();
                case 't': return word("true", Boolean.TRUE);
                case 'f': return word("false", Boolean.FALSE);
                case 'n': return word("null", null);
                default:  return number();
            }
        }

        private Object word(String word, Object value) {
            if (!text.startsWith(word, at)) {
                throw new NotJson();
            }
            at += word.length();
            return value;
        }

        private Object number() {
            Matcher matcher = NUMBER.matcher(text).region(at, text.length());
            if (!matcher.lookingAt()) {
                throw new NotJson();
            }
            at = matcher.end();
            String number = matcher.group();
            if (matcher.group(1) == null && matcher.group(2) == null && !number.equals("-0")) {
                return shortest(new BigInteger(number));
            }
            double real = Double.parseDouble(number);
            if (Double.isInfinite(real)) {
                throw new NotJson();
            }
            return real;
        }

        private static Number shortest(BigInteger n) {
            if (n.bitLength() < 32) {
                return n.intValue();
            }
            return n.bitLength() < 64 ? (Number) n.longValue() : n;
        }

        private void space() {
            while (at < text.length() && " \t\r\n".indexOf(text.charAt(at)) >= 0) {
                at++;
            }
        }

        private boolean next(char c) {
            space();
            boolean is = text.charAt(at) == c;
            at += is ? 1 : 0;
            return is;
        }

        private void must(char c) {
            if (!next(c)) {
                throw new NotJson();
            }
        }

        private void deeper() {
            at++;
            if (++depth > DEPTH) {
                throw new NotJson();
            }
        }

        private Object array() {
            List<Object> list = new ArrayList<>();
            deeper();
            if (!next(']')) {
                do {
                    space();
                    list.add(parse());
                } while (next(','));
                must(']');
            }
            depth--;
            return list;
        }

        private Object object() {
            Map<String, Object> object = new LinkedHashMap<>();
            deeper();
            if (!next('}')) {
                do {
                    space();
                    String key = string();
                    must(':');
                    space();
                    object.put(key, parse());
                } while (next(','));
                must('}');
            }
            depth--;
            return untag(object);
        }

        private String string() {
            StringBuilder out = new StringBuilder();
            if (text.charAt(at++) != '"') {
                throw new NotJson();
            }
            for (char c; (c = text.charAt(at++)) != '"'; ) {
                if (c < ' ') {
                    throw new NotJson();
                }
                out.append(c == '\\' ? escape() : c);
            }
            return out.toString();
        }

        private char escape() {
            int n = "\"\\/bfnrt".indexOf(text.charAt(at++));
            if (n >= 0) {
                return "\"\\/\b\f\n\r\t".charAt(n);
            }
            String hex = text.substring(at, at + 4);
            if (text.charAt(at - 1) != 'u' || !hex.matches("[0-9A-Fa-f]{4}")) {
                throw new NotJson();
            }
            at += 4;
            return (char) Integer.parseInt(hex, 16);
        }

        // A tag that is not known here is kept as it is.
        private Object untag(Map<String, Object> object) {
            String key = object.size() == 1 ? object.keySet().iterator().next() : "";
            if (!key.startsWith(" ")) {
                return object;
            }
            Object inner = object.get(key);
            try {
                if (key.equals(" b") && inner instanceof String bytes) {
                    return Base64.getDecoder().decode(bytes);
                }
                if (key.equals(" d") && inner instanceof String date) {
                    return ZonedDateTime.parse(date, DateTimeFormatter.RFC_1123_DATE_TIME).toInstant();
                }
                if (key.equals(" java") && inner instanceof String bytes && serializable != null) {
                    return deserialized(Base64.getDecoder().decode(bytes)); // else it stays a tag
                }
            }
            catch (IllegalArgumentException | java.time.DateTimeException e) {
                return new Tagged(object);
            }
            return key.equals(" di") && inner instanceof Map<?, ?> map ? unescaped(map) : new Tagged(object);
        }

        private static Map<String, Object> unescaped(Map<?, ?> map) {
            Map<String, Object> plain = new LinkedHashMap<>();
            map.forEach((key, value) -> plain.put(key.toString().replaceFirst("__$", ""), value));
            return plain;
        }

        String json(Object value) {
            StringBuilder out = new StringBuilder();
            depth = 0;
            write(value, out);
            return out.toString();
        }

        private void write(Object value, StringBuilder out) {
            if (++depth > DEPTH) {
                throw new IllegalArgumentException("it is nested too deeply, or in itself");
            }
            if (value == null || value instanceof Boolean || value instanceof Integer || value instanceof Long
                || value instanceof Short || value instanceof Byte || value instanceof BigInteger) {
                out.append(value);
            }
            else if (value instanceof Double || value instanceof Float) {
                double real = ((Number) value).doubleValue();
                if (Double.isNaN(real) || Double.isInfinite(real)) {
                    throw new IllegalArgumentException(value + " is no number of JSON");
                }
                out.append(value);
            }
            else if (value instanceof CharSequence || value instanceof Character || value instanceof Enum) {
                quote(value instanceof Enum<?> e ? e.name() : value.toString(), out);
            }
            else if (value instanceof Collection<?> list) {
                each(list, out);
            }
            else if (value instanceof Object[] list) {
                each(Arrays.asList(list), out);
            }
            else if (value instanceof Map<?, ?> map) {
                object(map, out);
            }
            else {
                tag(value, out);
            }
            depth--;
        }

        private void tag(Object value, StringBuilder out) {
            if (value instanceof byte[] bytes) {
                tag(" b", Base64.getEncoder().encodeToString(bytes), out);
            }
            else if (value instanceof Date || value instanceof Instant || value instanceof ZonedDateTime) {
                Instant time = value instanceof Date date ? date.toInstant()
                    : value instanceof ZonedDateTime zoned ? zoned.toInstant() : (Instant) value;
                tag(" d", DateTimeFormatter.ofPattern("EEE, dd MMM yyyy HH:mm:ss 'GMT'", Locale.ENGLISH)
                    .format(time.atOffset(ZoneOffset.UTC)), out);
            }
            else if (serializable != null && value instanceof Serializable) {
                tag(" java", Base64.getEncoder().encodeToString(serialized(value)), out);
            }
            else {
                throw new IllegalArgumentException("a session cannot hold " + value.getClass().getName() + ": it takes null, "
                    + "Boolean, integers, finite Float and Double, strings, enums (which come back as strings), byte[], "
                    + "Instant and Date, collections, arrays of objects and maps; and what MemSessFilter's init parameter "
                    + "serializable names");
            }
        }

        private void tag(String tag, String text, StringBuilder out) {
            out.append("{\"").append(tag).append("\":");
            quote(text, out);
            out.append('}');
        }

        private void each(Collection<?> list, StringBuilder out) {
            String between = "[";
            for (Object value : list) {
                out.append(between);
                write(value, out);
                between = ",";
            }
            out.append(list.isEmpty() ? "[]" : "]");
        }

        private void object(Map<?, ?> map, StringBuilder out) {
            boolean escape = map.size() == 1 && !(map instanceof Tagged) && map.keySet().iterator().next() instanceof String key
                && key.startsWith(" ");
            out.append(escape ? "{\" di\":{" : "{");
            String between = "";
            for (Map.Entry<?, ?> entry : map.entrySet()) {
                Object key = entry.getKey();
                if (!(key instanceof String || key instanceof Number || key instanceof Enum)) {
                    throw new IllegalArgumentException("the key " + key + " of a map is no string");
                }
                out.append(between);
                quote((key instanceof Enum<?> e ? e.name() : key.toString()) + (escape ? "__" : ""), out);
                out.append(':');
                write(entry.getValue(), out);
                between = ",";
            }
            out.append(escape ? "}}" : "}");
        }

        private static void quote(String text, StringBuilder out) {
            out.append('"');
            for (int n = 0; n < text.length(); n++) {
                char c = text.charAt(n);
                if (c == '"' || c == '\\') {
                    out.append('\\').append(c);
                }
                else if (c < ' ') {
                    out.append(String.format("\\u%04x", (int) c));
                }
                else {
                    out.append(c);
                }
            }
            out.append('"');
        }

        private byte[] serialized(Object value) {
            ByteArrayOutputStream bytes = new ByteArrayOutputStream();
            try (ObjectOutputStream out = new ObjectOutputStream(bytes)) {
                out.writeObject(value);
            }
            catch (IOException e) {
                throw new IllegalArgumentException("it cannot be serialized: " + e, e);
            }
            deserialized(bytes.toByteArray()); // what cannot be read back is not written
            return bytes.toByteArray();
        }

        // Only classes that the pattern allows, as the web application has them.
        private Object deserialized(byte[] bytes) {
            ClassLoader loader = Thread.currentThread().getContextClassLoader();
            try (ObjectInputStream in = new ObjectInputStream(new ByteArrayInputStream(bytes)) {
                @Override protected Class<?> resolveClass(ObjectStreamClass of) throws IOException, ClassNotFoundException {
                    return Class.forName(of.getName(), false, loader);
                }
            }) {
                in.setObjectInputFilter(serializable);
                return in.readObject();
            }
            catch (IOException | ClassNotFoundException e) {
                throw new IllegalArgumentException("an object in the session cannot be read, see the init parameter "
                    + "serializable: " + e.getMessage(), e);
            }
        }
    }
}
