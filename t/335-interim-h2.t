# Interim responses that are not passed on. mod_proxy_http2 leaves their headers among those of the
# answer: reserved ones among them are not obeyed.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::BackendH2;
use MemSess::HTTP qw(h2);
use MemSess::Site;
use MemSess::Test;

my @hows = qw(together apart continued bytes);
plan tests => 2 * @hows + 2;

my $early = [':status: 103', 'link: </x>', 'memsess-set: early=1', 'memsess-destroy: 1', 'x-early: 1'];
my $final = [':status: 200', 'content-type: text/plain', 'x-said: yes', 'memsess-set: a=1'];
my %backend = map { $_ => MemSess::BackendH2->start($_, $early, $early, $final) } @hows;
my $plain = MemSess::BackendH2->start('together',
    [':status: 200', 'memsess-incr: n=1', 'memsess-incr: n=1', 'content-type: text/plain']);

my $modules = MemSess::Site::query('LIBEXECDIR');
my $m = MemSess::Member->start(servers => [MemSess::Memcached->start], config => join "\n",
    qq(LoadModule http2_module "$modules/mod_http2.so"),
    qq(LoadModule proxy_http2_module "$modules/mod_proxy_http2.so"),
    'Protocols h2c http/1.1',
    (map { "ProxyPass /$_ h2c://127.0.0.1:" . $backend{$_}->port . '/' } @hows),
    qq(SetEnvIf X-Policy (.+) proxy-interim-response=\$1),
    'ProxyPass /plain h2c://127.0.0.1:' . $plain->port . '/');

for my $how (@hows) {
    subtest "$how: to a client of HTTP/1" => sub {
        my $c = started($m, 'a=0');
        for (1 .. 3) {
            my $mark = $m->log->mark;
            my $r = $c->get("/$how");
            is_deeply [$r->status, $r->body, $r->header('X-Said')], [200, "ok\n", 'yes'], 'the answer';
            is_deeply [$r->leaks], [], 'nothing leaks';
            is data($c), 'a=1', 'what it says counts, and nothing else';
            ok $m->log->wait_for(qr/warn.*memsess-set: it is part of an interim/i, $mark), 'a warning';
        }
    };

    subtest "$how: to a client of HTTP/2" => sub {
        my $c = started($m, 'a=0');
        my $answer = h2($m->port, "/$how", 'Cookie: memsess=' . $c->cookie);
        like $answer, qr{^HTTP/2 200.*^x-said: yes.*ok$}ms, 'the answer';
        unlike $answer, qr/^memsess-/mi, 'nothing leaks';
        is data($c), 'a=1', 'what it says counts, and nothing else';
    };
}

subtest 'of mod_proxy_http' => sub {
    my $target = '/proxy/raw?' . escape(
        "HTTP/1.1 103 Early Hints\r\nMemSess-Set: early=1\r\nMemSess-Destroy: 1\r\n\r\n"
        . "HTTP/1.1 200 OK\r\nMemSess-Set: a=1\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n");
    for my $policy (qw(RFC Suppress)) {
        for my $version (qw(1.0 1.1)) {
            my $c = started($m, 'a=0');
            my $r = raw($m->port, join "\r\n", "GET $target HTTP/$version", 'Host: localhost',
                'Connection: close', "X-Policy: $policy", 'Cookie: memsess=' . $c->cookie, '', '');
            is $r->status, 200, "$policy, HTTP/$version: the answer";
            is_deeply [$r->leaks], [], 'nothing leaks';
            is data($c), 'a=1', 'what it says counts, and nothing else';
        }
    }
};

subtest 'answers without any' => sub {
    my $c = started($m, 'n=0');
    $c->get('/plain') for 1 .. 5;
    is data($c), 'n=10', 'all that they say counts';
};
