# What docs/pitfalls.md says about each pitfall.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Faults;
use MemSess::Site;
use MemSess::Test;

plan tests => 6;

my $modules = MemSess::Site::query('LIBEXECDIR');
my @pool = pool(1);
my $m = MemSess::Member->start(servers => \@pool, config => qq(
    LoadModule setenvif_module "$modules/mod_setenvif.so"
    LoadModule autoindex_module "$modules/mod_autoindex.so"
) . q(
    SetEnvIf MEMSESS_ATTR_user "ann" EARLY=seen
    <Location "/cgi/env/late">
        SetEnvIf MEMSESS_ATTR_user "ann" LATE=seen
    </Location>
    Alias /plain-off/ "${T_ROOT}/htdocs/"
    <Location "/plain-off">
        MemSess Off
    </Location>

    # All of it is one program's.
    Alias /front/ "${T_ROOT}/cgi-bin/"
    Alias /closed/ "${T_ROOT}/cgi-bin/"
    <LocationMatch "^/(front|closed)/">
        AuthType MemSess
        MemSessLoginURL /front/login
        Require valid-user
    </LocationMatch>
    <LocationMatch "^/(front|closed)/env$">
        SetHandler cgi-script
    </LocationMatch>
    <Location "/closed/">
        MemSessLoginURL /closed/login
        FallbackResource /closed/env
    </Location>
    <Location "/closed/login">
        Require all granted
    </Location>
    <Location "/front/">
        FallbackResource /front/env
        <RequireAny>
            Require valid-user
            Require expr "%{THE_REQUEST} =~ m#^(GET|POST) /front/login[? ]#"
        </RequireAny>
    </Location>

    # A log-in page that is open, and looks at a page that is not.
    Alias /lists/ "${T_ROOT}/htdocs/"
    <Location "/lists/">
        Options +Indexes
        DirectoryIndex disabled
        AuthType MemSess
        MemSessLoginURL /lists/
        Require all granted
    </Location>
    <Location "/lists/plain.txt">
        Require valid-user
    </Location>

    LogFormat "%U %{Cookie}i %{Set-Cookie}o" cookie
    CustomLog "${T_DIR}/cookie_log" cookie
));
my @html = ('Accept: text/html');
my $ann = started($m, 'user=ann');

subtest 'static files under a server-wide MemSess On' => sub {
    my $r = $ann->get('/plain.txt');
    like join(',', $r->header('Cache-Control')), qr/private/, 'no shared cache keeps them';
    $r = $ann->get('/plain-off/plain.txt');
    is_deeply [$r->header('Cache-Control')], [], 'where it is Off, all may';
};

subtest 'SetEnvIf' => sub {
    my $r = $ann->get('/cgi/env/late');
    is $r->env('EARLY'), undef, 'sees nothing in the configuration of a server';
    is $r->env('LATE'), 'seen', 'sees the session in a section';
};

subtest 'a front controller' => sub {
    my $nobody = client($m);
    my $mark = $m->log->mark;
    is $nobody->get('/closed/login', @html)->status, 401, 'its log-in page is closed by its own section';
    my $advice = 'Require expr "%{THE_REQUEST} =~ m#^(GET|POST) /closed/login[? ]#"';
    ok $m->log->wait_for(qr{page of MemSessLoginURL.*\Q$advice\E}, $mark), 'the log says what opens it';
    is $nobody->get('/front/login', @html)->status, 200, 'it is open by what was asked for';
    is $nobody->get('/front/other', @html)->status, 302, 'nothing else is';
    is $ann->get('/front/other', @html)->status, 200, 'but to users';
};

subtest 'a log-in page with parts that are closed' => sub {
    my $mark = $m->log->mark;
    my $r = client($m)->get('/lists/', @html);
    is $r->status, 200, 'is open';
    like $r->body, qr/session\.shtml/, 'and has the others';
    unlike $r->body, qr/plain\.txt/, 'not those';
    unlike $m->log->text($mark), qr/needs a log-in itself/, 'nobody says that it is closed';
};

subtest 'cookies in an access log' => sub {
    my $c = started($m, 'user=bob');
    $c->get('/cgi/env/last');
    my ($log, $text) = "$m->{dir}/cookie_log";
    ok wait_for(20, sub {
        open my $in, '<', $log or return 0;
        $text = do { local $/; <$in> };
        return $text =~ m{^/cgi/env/last }m;
    }), 'is written';
    unlike $text, qr{^/cgi/\S+ memsess=}m, 'a request has none, whatever %{Cookie}i is asked for';
    like $text, qr{^/cgi/say\S* - memsess=\Q@{[ id_of($c->cookie) ]}\E}m, '%{Set-Cookie}o has it';
};

subtest 'many requests without a cookie at once' => sub {
    my @c = map { client($m) } 1 .. 6;
    my @r = together(map { [$_, say_via('lua', 'MemSess-Incr: n=1')] } @c);
    my %seen = map { id_of($_->cookie) => 1 } @c;
    is keys %seen, 6, 'make as many sessions';
};

