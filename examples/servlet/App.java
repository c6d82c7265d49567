import jakarta.servlet.http.*;
import java.io.File;
import java.io.IOException;
import org.apache.catalina.Context;
import org.apache.catalina.startup.Tomcat;
import org.apache.tomcat.util.descriptor.web.FilterDef;
import org.apache.tomcat.util.descriptor.web.FilterMap;

/** A page that counts, POST /app/login with user=NAME, and POST /app/logout: App PORT DIRECTORY */
public class App extends HttpServlet {
    private static final long serialVersionUID = 1;

    @Override
    protected void doGet(HttpServletRequest in, HttpServletResponse out) throws IOException {
        HttpSession session = in.getSession();
        Object user = session.getAttribute("user"), visits = session.getAttribute("hits");
        int earlier = visits instanceof Number n ? n.intValue() : 0;
        session.setAttribute("hits", earlier + 1);
        out.setContentType("text/plain; charset=UTF-8");
        out.getWriter().print("earlier visits: " + earlier + "\nuser: " + (user == null ? "nobody" : user) + "\n");
    }

    @Override
    protected void doPost(HttpServletRequest in, HttpServletResponse out) throws IOException {
        in.setCharacterEncoding("UTF-8");
        if (in.getRequestURI().endsWith("/login")) {
            String user = in.getParameter("user");
            if (user == null || user.isEmpty()) {
                out.sendError(422);
                return;
            }
            in.getSession();
            in.changeSessionId();
            in.getSession().setAttribute("user", user);
        }
        else if (in.getSession(false) != null) {
            in.getSession().invalidate();
        }
        out.setHeader("Location", "/app");
        out.setStatus(303);
    }

    // What web.xml says to a Tomcat that is installed.
    @SuppressWarnings("deprecation")
    public static void main(String[] args) throws Exception {
        Tomcat tomcat = new Tomcat();
        tomcat.setBaseDir(args[1]);
        tomcat.setPort(Integer.parseInt(args[0]));
        tomcat.getConnector().setProperty("address", "127.0.0.1");
        Context context = tomcat.addContext("", new File(args[1]).getAbsolutePath());
        FilterDef filter = new FilterDef();
        filter.setFilterName("memsess");
        filter.setFilterClass("MemSessFilter");
        filter.addInitParameter("plain", "user");
        context.addFilterDef(filter);
        FilterMap map = new FilterMap();
        map.setFilterName("memsess");
        map.addURLPattern("/*");
        context.addFilterMap(map);
        Tomcat.addServlet(context, "app", new App());
        context.addServletMappingDecoded("/app/*", "app");
        tomcat.start();
        tomcat.getServer().await();
    }
}
