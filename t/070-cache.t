# A cache in the same server: it keeps what it may, and nobody gets another client's session.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use File::Find;
use MemSess::Clock;
use MemSess::Test;

my @kinds = map { my $store = $_; map { [$store, $_] } qw(On Off) } qw(disk socache);
plan tests => 1 + @kinds;

my $memcached = MemSess::Memcached->start;

# A page that nobody has asked for yet.
my $pages = 0;
sub page { my ($cc) = @_; return "/cgi/page?cc=$cc&n=" . ++$pages }

sub hit { return $_[0]->header('X-Cache') =~ /^HIT/ ? 1 : 0 }

sub token { return $_[0]->env('token') // 'none' }

# Rules for every kind of cache.
sub with_cache {
    my ($m) = @_;
    my ($anna, $bert) = map { started($m, "who=$_") } qw(anna bert);
    my $nobody = client($m);

    subtest 'what needs no session is cached' => sub {
        my $page = page('max-age=3600');
        my $first = $nobody->get($page);
        my $again = client($m)->get($page);
        is hit($again), 1, 'a hit';
        is token($again), token($first), 'the same response';
        like $_->header('Vary'), qr/\bCookie\b/i, 'which varies by cookie' for $first, $again;
        is $anna->get($page)->env('MEMSESS_DATA'), 'who=anna', 'who has a session does not get it';
        is client($m)->get($page)->env('MEMSESS_DATA'), '', 'nor the others what she got';
        is token(client($m)->get($page)), token($first), 'but theirs, as before';
    };

    subtest 'what was made with a session is not' => sub {
        my $page = page('max-age=3600');
        for my $round (1 .. 2) {
            is $anna->get($page)->env('MEMSESS_DATA'), 'who=anna', 'anna sees hers';
            is $bert->get($page)->env('MEMSESS_DATA'), 'who=bert', 'bert sees his';
            is client($m)->get($page)->env('MEMSESS_DATA'), '', 'nobody sees nothing';
        }
        my $changed = started($m, 'n=1');
        $changed->get($page);
        set_via($changed, 'n=2');
        is $changed->get($page)->env('MEMSESS_DATA'), 'n=2', 'a change is seen at once';
    };

    subtest 'unless the handler says public' => sub {
        my $page = page('public,max-age=3600');
        my $first = $anna->get($page);
        like $first->header('Vary'), qr/\bCookie\b/i, 'it varies by cookie';
        my $again = $anna->get($page);
        is hit($again), 1, 'a hit';
        is token($again), token($first), 'the same response';
        is $bert->get($page)->env('MEMSESS_DATA'), 'who=bert', 'but not for another';
        is client($m)->get($page)->env('MEMSESS_DATA'), '', 'nor for nobody';
        is $anna->get($page)->env('MEMSESS_DATA'), 'who=anna', 'and hers is hers';
    };

    for my $cc ('max-age=3600', 'public,max-age=3600', 'public,s-maxage=3600') {
        subtest "a response that sets the cookie is not kept: $cc" => sub {
            my $page = page($cc);
            my @c = map { client($m) } 1 .. 3;
            for my $c (@c) {
                my $r = $c->get($page, 'X-Login: carl');
                is hit($r), 0, 'no hit';
                ok defined $c->cookie, 'a cookie';
            }
            my %cookies = map { $_->cookie // '' => 1 } @c;
            is scalar keys %cookies, 3, 'each has one of his own';
            is scalar(client($m)->get($page)->header('Set-Cookie')), '',
                'who writes nothing gets none';
        };
    }

    subtest 'nor one that clears it' => sub {
        my $page = page('public,max-age=3600');
        ok clears_cookie(started($m)->get($page, 'X-Logout: 1')), 'it is cleared';
        ok leaves_cookie(client($m)->set_cookie('A' x 24)->get($page)), 'an unknown one is not';
        is scalar(client($m)->get($page)->header('Set-Cookie')), '', 'that of nobody else';
        my $r = $anna->get($page);
        is scalar($r->header('Set-Cookie')), '', 'least of all of a live session';
        is $r->env('MEMSESS_DATA'), 'who=anna', 'which goes on';
    };

    subtest 'revalidation brings no cookie into the cache' => sub {
        my $page = page('public,max-age=1');
        is token(client($m)->get($page)) =~ /\./ ? 1 : 0, 1, 'kept';
        let_pass(2.1);
        my $login = client($m);
        $login->get($page, 'X-Login: dora');
        my $cookie = $login->cookie;
        ok defined $cookie, 'a 304 to the cache, with a write, sets a cookie';
        is data($login), 'who=dora', 'of a session';
        my $r = client($m)->get($page);
        is scalar($r->header('Set-Cookie')), '', 'the next one does not get it';
        unlike $r->{raw}, qr/dora/, 'nor anything else of it';
        $r = $anna->get($page, 'If-None-Match: "the same"');
        is scalar($r->header('Set-Cookie')), '', 'nor a client that has a session';
        like $r->header('Vary'), qr/\bCookie\b/i, 'a 304 varies by cookie as well'
            if $r->status == 304;
    };
}

subtest 'headers for caches that are not ours' => sub {
    my $m = MemSess::Member->start(servers => [$memcached],
        config => "<LocationMatch /none>\nMemSessExpose none\n</LocationMatch>");
    my $c = started($m);
    for my $target ('/plain.txt', '/cgi/env', '/proxy/echo', '/no/such/file') {
        like $c->get($target)->header('Vary'), qr/\bCookie\b/i, "$target: Vary";
        like client($m)->get($target)->header('Vary'), qr/\bCookie\b/i,
            "$target: Vary, without a session";
        like $c->get($target)->header('Cache-Control'), qr/\b(?:private|no-store)\b/,
            "$target: not for shared caches";
    }
    my $r = client($m)->get(say_via('cgi', 'MemSess-Set: a=1',
        'Cache-Control: public, max-age=60'));
    like $r->header('Cache-Control'), qr/\b(?:private|no-store)\b|no-cache="?set-cookie/i,
        'a response that sets the cookie, nor that';
    unlike $r->header('Cache-Control'), qr/public/, 'whatever the handler says';
    $r = $c->get(say_via('cgi', 'Cache-Control: public, max-age=60'));
    is scalar($r->header('Cache-Control')), 'public, max-age=60', "a handler's public stands";
    $r = $c->get(say_via('cgi', 'Vary: Accept-Language'));
    like $r->header('Vary'), qr/Accept-Language.*Cookie|Cookie.*Accept-Language/,
        'Vary is added to';
    $r = $c->get('/plain.txt',
        'If-Modified-Since: ' . $c->get('/plain.txt')->header('Last-Modified'));
    is $r->status, 304, 'a 304';
    like $r->header('Vary'), qr/\bCookie\b/i, 'varies as well';
    is scalar($c->get('/cgi/env/none')->header('Vary')), '', 'what is not exposed needs no Vary';
    $m->stop;
};

for my $kind (@kinds) {
    my ($store, $quick) = @$kind;
    subtest "mod_cache_$store, CacheQuickHandler $quick" => sub {
        my $m = MemSess::Member->start(servers => [$memcached], config => qq(
            CacheQuickHandler $quick
            CacheRoot "\${T_DIR}/cache"
            CacheSocache shmcb:\${T_DIR}/socache(512000)
            CacheSocacheMaxSize 102400
            CacheHeader On
            # mod_cache_socache keeps only what says its length.
            SetEnv ap_trust_cgilike_cl yes
            CacheEnable $store /cgi/page));
        with_cache($m);
        my @stored;
        find({ no_chdir => 1, wanted => sub {
            return unless -f;
            my $text = MemSess::Log->new($_)->text;
            push @stored, $_;
            unlike $text, qr/^Set-Cookie:/mi, 'a stored response has no Set-Cookie';
        } }, $m->dir . '/cache');
        cmp_ok scalar @stored, '>', 0, 'something is stored' if $store eq 'disk';
        $m->stop;
    };
}
