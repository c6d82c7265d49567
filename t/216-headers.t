# Attacks by headers: what a client makes up never reaches a back end, by HTTP/2 neither; and a
# victim does not log in to a session that an attacker planted.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Faults;
use MemSess::HTTP;
use MemSess::Site;
use MemSess::Test;

plan tests => 5;

my @pool    = pool(3);
my $modules = MemSess::Site::query('LIBEXECDIR');
my $config  = timing() . qq(
    LoadModule http2_module "$modules/mod_http2.so"
    Protocols h2c http/1.1
    LogFormat "\%U ua=\%{User-Agent}i user=\%u attr=\%{MEMSESS_ATTR_v}e" plain
    CustomLog "\${T_DIR}/plain_log" plain
    <LocationMatch "/members">
        AuthType MemSess
        Require valid-user
    </LocationMatch>
    <LocationMatch "/off">
        MemSess Off
    </LocationMatch>
);
my @m = map { MemSess::Member->start(servers => \@pool, config => $config) } 1 .. 2;

# A request by HTTP/2: status line and headers, body.
sub h2 { return split /\r\n\r\n/, MemSess::HTTP::h2($m[0]->port, @_), 2 }

my @forged = map { ("$_: forged") } qw(MemSess-State memsess-state MEMSESS-ID MemSess-Data
    memsess_state MemSess_Data memsess-set MemSess- memsess-anything memsess_-_x MemSess.State);

subtest 'HTTP/2: from the client' => sub {
    my $c = started($m[0], 'user=ann');
    for my $path ('', '/off') {
        for my $cookie ('', 'Cookie: memsess=' . $c->cookie) {
            my ($head, $body) = h2("/proxy/echo$path", @forged, grep { length } $cookie);
            like $head, qr{^HTTP/2 200}, "$path: by HTTP/2" or diag $head;
            unlike $body, qr/forged/, "$path: nothing made up reaches a back end" or diag $body;
            unlike $body, qr/^cookie:.*memsess=/mi, "$path: nor does the cookie" unless $path;
            ($head, $body) = h2("/cgi/env$path", @forged, grep { length } $cookie);
            unlike $body, qr/forged/, "$path: nor a script" or diag $body;
        }
    }
    my ($head, $body) = h2('/proxy/echo', @forged, 'Cookie: memsess=' . $c->cookie);
    like $body, qr/^memsess-state: active\r?$/mi, 'ours do';
    ($head, $body) = h2('/cgi/env/members', 'Cookie: memsess=' . $c->cookie);
    like $body, qr/^REMOTE_USER=ann$/m, 'and the user';
    ($head) = h2('/cgi/env/members', @forged, 'Remote-User: ann', 'REMOTE_USER: ann');
    like $head, qr{^HTTP/2 401}, 'nobody is not let in';
};

subtest 'HTTP/2: to the client' => sub {
    for my $handler (qw(cgi proxy lua)) {
        my ($head) = h2(say_via($handler, 'MemSess-Set: a=1', 'MemSess-Nonsense: x',
            'MemSess-Renew: 1'));
        like $head, qr{^HTTP/2 200}, "$handler: answered";
        like $head, qr/^set-cookie: memsess=/mi, "$handler: obeyed";
        unlike $head, qr/^memsess-/mi, "$handler: and kept back";
    }
};

subtest 'fixation' => sub {
    # The attacker plants a made-up id, or the id of a session that exists.
    my $planted = client($m[0])->set_cookie('F' x 24);
    $planted->get(say_via('cgi', 'MemSess-Set: user=ann', 'MemSess-Renew: 1'));
    unlike $planted->cookie, qr/^F{24}/, 'a made-up id is not adopted';
    is state(client($_)->set_cookie('F' x 24)), 'unknown', 'by no member' for @m;

    my ($attacker, $mark, @homes) = marked($m[0], @pool);
    my $victim = $attacker->copy(server => $m[1]);
    $victim->get(say_via('cgi', 'MemSess-Set: user=ann', 'MemSess-Renew: 1'));
    isnt $victim->cookie, $attacker->cookie, 'the id changes at log-in';
    is attr($victim->get('/cgi/env'), 'user'), 'ann', 'she is logged in';
    for my $m (@m) {
        is state($attacker->copy(server => $m)), 'unknown', 'the planted id is dead at once';
        is $attacker->copy(server => $m)->get('/cgi/env/members')->status, 401,
            'and lets nobody in';
    }
    for my $home (@homes) {
        my ($server, $key) = @$home;
        unlike $server->item($key) // '', qr/\Q$mark\E/,
            'no copy under the old id has anything left';
        $_->pause for grep { $_ != $server } @pool;
        isnt state($attacker->copy) // 'refused', 'active', 'nor does any copy alone bring it back';
        $_->resume for @pool;
        settle();
    }
};

subtest 'control characters' => sub {
    my %value = (crlf => "x\r\nMemSess-Set: evil=1\r\nX-Evil: 1", lf => "x\nY: 1", tab => "a\tb",
        escape => "\x1b[31m");
    my $log = MemSess::Log->new($m[0]->dir . '/plain_log');
    for my $what (sort keys %value) {
        my $c = started($m[0],
            'v=' . escape($value{$what}) . '&user=' . escape("ann$value{$what}"));
        my $mark = $log->mark;
        my $r = $c->get('/proxy/echo');
        unlike $r->body, qr/^(?:X-Evil|Y|MemSess-Set):/mi, "$what: makes no header";
        unlike $r->body, qr/[\x00-\x08\x0b\x0c\x0e-\x1f]/, "$what: nor reaches one";
        is $c->get('/cgi/env/members')->status, 401, "$what: is no user";
        ok $log->wait_for(qr{^/proxy/echo.*\n.*members}m, $mark), "$what: a line each";
        is scalar(() = $log->text($mark) =~ /\n/g), 2, "$what: and no more";
        unlike $log->text($mark), qr/[^\n\x20-\x7e]/, "$what: and only what can be printed";
    }
    my $c = started($m[0], 'a=1');
    is $c->get(say_via('proxy', 'MemSess-Set: v=a%00b'))->status, 500, 'NUL is refused';
    is data($c), 'a=1', 'the session stays';
};

subtest 'a forward proxy has no session' => sub {
    my $proxy = MemSess::Member->start(servers => \@pool, config => timing() . 'ProxyRequests On');
    my $c = started($proxy, 'user=ann');
    my $r = $c->get("http://127.0.0.1:$ENV{MEMSESS_T_BACKEND}/echo", @forged);
    is $r->status, 200, 'passed on' or diag $r->{raw};
    unlike $r->body, qr/^memsess/mi, 'without state, id or data, ours or made up';
    $r = $c->get("http://127.0.0.1:$ENV{MEMSESS_T_BACKEND}/say?"
        . escape("MemSess-Set: a=evil\n\nx"));
    is scalar($r->leaks), 0, 'nothing of ours comes back' or diag $r->{raw};
    is data($c), 'user=ann', 'and nobody obeys it';
    $proxy->stop;
};
