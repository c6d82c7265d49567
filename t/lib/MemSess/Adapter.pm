package MemSess::Adapter;
# An application of clients/NAME/test behind two members: sessions are at /app (the application learns
# of errors), the same under MemSessLock request at /locked, and without mod_memsess at /bare. It
# answers /app/NAME?ARGUMENT alike in all languages, and `behaves` tries what all of them do.
use strict;
use warnings;
use parent 'MemSess::Process';

use Exporter 'import';
use IO::Socket::INET;
use JSON::PP;
use MemSess::Faults qw(at_once);
use MemSess::Member;
use MemSess::Memcached;
use MemSess::Process qw(free_port wait_for);
use MemSess::Site;
use MemSess::Test;
use Test::More import => [qw(is isnt ok like is_deeply diag subtest)];

our @EXPORT_OK = qw(json);

my $json = JSON::PP->new->utf8->canonical->allow_nonref;

my $count = 0;

sub json { return $json->encode($_[0]) }

# command: a function of the port; scheme: how httpd reaches it (http, fcgi); worker: further
# parameters of ProxyPass; config: more
sub start {
    my ($class, %args) = @_;
    my $self = $class->application(%args);
    $self->{servers} = [map { MemSess::Memcached->start } 1 .. 2];
    $self->{members} = [map {
        MemSess::Member->start(servers => $self->{servers}, config => $self->config)
    } 1 .. 2];
    return $self;
}

# The application alone.
sub application {
    my ($class, %args) = @_;
    mkdir 't/logs';
    my $self = bless { log => "t/logs/adapter-$$-" . ++$count . '.log', scheme => 'http', %args }, $class;
    $self->start_application($args{command});
    return $self;
}

sub start_application {
    my ($self, $command) = @_;
    for (1 .. 5) {
        $self->{port} = free_port();
        $self->{command} = $command->($self->{port});
        $self->launch;
        return if wait_for(120, sub { !$self->alive || $self->accepts }) && $self->alive;
    }
    die "the application does not start:\n" . $self->output;
}

sub accepts {
    my ($self) = @_;
    return IO::Socket::INET->new(PeerHost => '127.0.0.1', PeerPort => $self->{port}, Timeout => 5);
}

# gunicorn, which takes no header line above 8 kB unless it is told to. (0 was no limit up to version
# 23; of 26 it is the default again.)
sub gunicorn {
    my ($dir, $app) = @_;
    return sub {
        ['gunicorn', '-b', "127.0.0.1:$_[0]", '--threads', 8, '--limit-request-field_size', 500_000,
         '--pythonpath', $dir, $app]
    };
}

sub members { @{ $_[0]{members} } }

sub config {
    my ($self) = @_;
    my $modules = MemSess::Site::query('LIBEXECDIR');
    my $expose = $self->{scheme} eq 'http' ? 'headers' : 'env';
    my $to     = "$self->{scheme}://127.0.0.1:$self->{port}/app";
    my $more   = $self->{scheme} eq 'http' ? 'responsefieldsize=400000' : '';
    $more .= ' ' . ($self->{worker} // '');
    return qq(
        <IfModule !proxy_fcgi_module>
            LoadModule proxy_fcgi_module "$modules/mod_proxy_fcgi.so"
        </IfModule>
        MemSess Off
        MemSessWriteback Off
        MemSessRetry 300ms
        MemSessUserAttr user
        <LocationMatch "^/(app|locked|narrow|lua|cgi)/">
            MemSess On
            MemSessExpose $expose
            MemSessWriteback On
            MemSessOnError anonymous
        </LocationMatch>
        <LocationMatch "^/(lua|cgi)/">
            MemSessExpose env
        </LocationMatch>
        <Location "/locked">
            MemSessLock request
        </Location>
        ProxyPass /app    $to $more
        ProxyPass /locked $to $more
        ProxyPass /narrow $to
        ProxyPass /bare   $to
        @{[ $self->{config} // '' ]}
    );
}

# The answer to the client, whose status is 200.
sub said {
    my ($c, $target, $what) = @_;
    my $r = $c->get("/app/$target");
    is $r->status, 200, $what // $target or diag $r->body;
    is_deeply [$r->leaks], [], 'none of our headers leaves';
    return $r->body;
}

sub put {
    my ($c, $values) = @_;
    my $r = $c->post('/app/put', json($values), 'Content-Type: application/json');
    is $r->status, 200, 'put ' . substr json($values), 0, 60 or diag $r->{raw};
    return $r;
}

sub dump_is {
    my ($c, $wanted, $what) = @_;
    is json($json->decode(said($c, 'dump'))), json($wanted), $what;
}

# Tries what each adapter does, in subtests. lacks: what its framework does not have.
sub behaves {
    my ($self, %lacks) = @_;
    my ($one, $two) = $self->members;
    subtest 'nested data, Unicode, bytes'           => sub { values_are_kept($one, $two, %lacks) };
    subtest 'nothing changed, nothing written'      => sub { quiet($one) };
    subtest '100 kB, in many attributes'            => sub { large($self, $one, $two) };
    subtest 'parallel requests on two members'      => sub { parallel($one, $two) };
    subtest 'a new id, and the end'                 => sub { log_in_and_out($one, $two) };
    subtest 'a change after the response began'     => sub { late($self, $one) };
    subtest 'what a session cannot hold'            => sub { refused($one) };
    subtest 'without mod_memsess in front'          => sub { bare($one) };
    subtest 'the store does not answer'             => sub { unavailable($self, $one) };
}

my $values = {
    text => "J\x{fc}rgen \x{2603} \x{1f600}, & = + %20 \"quoted\"", number => 42, word => '42',
    real => 1.5, truth => JSON::PP::true, list => [1, 'two', [], {}, JSON::PP::false, undef],
    deep => { a => { b => [{ c => "\x{e9}" }] } }, 'user name' => 'a key that is no attribute name',
    empty => '', lines => "a\r\nMemSess-Set: forged=1\r\n\r\n", space => ' 1 ', long => 123456789012345,
    dict => { ' b' => 'no tag' }, "k\x{f6}y" => 1, control => "\x01\x00\x7f", nothing => undef,
    "nul\x00key" => "\x00",
};

sub values_are_kept {
    my ($one, $two, %lacks) = @_;
    my $c = client($one);
    local $values->{list} = [] if $lacks{'empty objects'};
    delete local $values->{nothing} if $lacks{null};
    is said($c, 'get?text'), 'null', 'nothing at first';
    is $c->cookie, undef, 'which makes no session';
    put($c, $values);
    ok defined $c->cookie, 'values make one';
    dump_is($c->via($two), $values, 'and all are there, on the other member');
    is $c->get('/lua/env')->env('MEMSESS_DATA') =~ /(?:^|&)text=J%C3%BCrgen/, 1, 'text is stored bare';
    like said($c, 'id'), qr/^[0-9a-zA-Z_-]{8,}$/, 'the id is the public one';
    isnt said($c, 'id'), $c->cookie, 'not the cookie';
    said($c->via($one), 'nested') for 1 .. 3;
    is said($c->via($two), 'get?cart'), '{"n":3}', 'a change within a value is a change';
    said($c, 'bytes');
    is said($c->via($one), 'is-bytes'), 'same', 'all 256 bytes';
    said($c, 'delete?text');
    is said($c->via($two), 'get?text'), 'null', 'a key that went';
    put($c, { number2 => 1, word => undef });
    my $stored = $c->get('/lua/env')->env('MEMSESS_DATA') =~ /(?:^|&)word=([^&]*)/ ? $1 : 'no longer there';
    is $stored, $lacks{null} ? 'no longer there' : 'null', 'a key that became null';
    is said($c, 'get?number'), 42, 'without the others';
    is said($c, 'get?user+name'), '"a key that is no attribute name"', 'a key that is encoded';
}

sub quiet {
    my ($one) = @_;
    my $c = client($one);
    put($c, { a => 1, list => [1, { x => 1, y => 2 }] });
    my ($before) = said($c, 'id');
    my $mark = $one->log->mark;
    said($c, $_) for qw(get?list dump untouched);
    is $c->get('/lua/env')->env('MEMSESS_DATA'), 'a=1&list=%5B1%2C%7B%22x%22%3A1%2C%22y%22%3A2%7D%5D', 'the same data';
    is client($one)->get('/app/untouched')->header('Set-Cookie'), '', 'no session without a change';
}

# By FastCGI an attribute has 8 kB at most, so there are more and smaller ones.
sub large {
    my ($self, $one, $two) = @_;
    my $size = $self->{attribute} // 20000;
    my $c = client($one);
    my %all;
    my $total = $self->{largest} // 100000;
    for my $n (1 .. $total / $size) {
        $all{"part$n"} = chr(97 + $n % 20) x ($size - 20);
    }
    put($c, \%all);
    my $got = $json->decode(said($c->via($two), 'dump'));
    is_deeply [map { length } @$got{sort keys %all}], [map { length } @all{sort keys %all}], 'all is there';
    is json($got) eq json(\%all), 1, 'as it was';

    # The longest that an adapter writes where httpd's limits are its defaults.
    my $r = $c->post('/narrow/put', json({ part1 => 'z' x (8160 - 6) }), 'Content-Type: application/json');
    is $r->status, 200, 'an attribute that just fits a header line of httpd';
    is length said($c, 'get?part1'), 8160 - 6 + 2, 'is there';
}

# clients/NAME/test has a program that says whether clients/vectors.json holds.
sub vectors {
    my (@command) = @_;
    # None of ours is in there, and PHP loads its own in a way that the sanitizers refuse.
    delete local $ENV{LD_PRELOAD};
    open my $out, '-|', @command or die "$command[0]: $!";
    my $said = do { local $/; <$out> } // '';
    close $out;
    is $?, 0, "clients/vectors.json, by @command[0 .. 0]" or diag $said;
    like $said, qr/^[1-9]\d\d hold/m, 'all of it';
}

sub parallel {
    my ($one, $two) = @_;
    my $c = client($one);
    put($c, { first => 1 });
    my @said = at_once(20, sub {
        my ($k) = @_;
        my $other = $c->copy->via($k % 2 ? $one : $two);
        my $status;
        # If an application is slow, some of so many waiting requests are turned away: they come again.
        wait_for(30, sub { ($status = $other->get('/locked/add?count')->status) != 503 });
        return $status;
    });
    is_deeply [grep { $_ ne 200 } @said], [], 'all are answered under MemSessLock request';
    is said($c, 'get?count'), 20, 'and none is lost';
    @said = at_once(20, sub {
        my ($k) = @_;
        return $c->copy->via($k % 2 ? $one : $two)->get("/app/add?own$k")->status;
    });
    is_deeply [grep { $_ ne 200 } @said], [], 'all are answered under MemSessLock commit';
    dump_is($c, { first => 1, count => 20, map { ("own$_" => 1) } 0 .. 19 }, 'and merged by key');
}

sub log_in_and_out {
    my ($one, $two) = @_;
    my $c = client($one);
    put($c, { cart => ['book'] });
    my ($before, $id) = ($c->copy, said($c, 'id'));
    said($c, 'login?42');
    isnt $c->cookie, $before->cookie, 'a log-in has a new id';
    is said($c->via($two), 'get?cart'), '["book"]', 'the data go on';
    is said($c, 'id'), $id, 'the public id too';
    is said($before, 'get?cart'), 'null', 'the old id is dead';
    like $c->get('/lua/env')->env('MEMSESS_DATA'), qr/(?:^|&)user=42(?:&|$)/, 'a plain name is stored as it is';
    is said($c, 'get?user'), '"42"', 'and is a string';
    $before = $c->copy;
    said($c, 'renew');
    isnt $c->cookie, $before->cookie, 'a new id without a log-in';
    is said($c, 'get?user'), '"42"', 'for the same data';
    is said($before, 'get?user'), 'null', 'the old id is dead';
    $before = $c->copy;
    said($c, 'switch?ann');
    is said($c, 'get?user'), '"ann"', 'another user in a session of its own';
    is said($c, 'get?cart'), 'null', 'which has nothing of the one before';
    is said($before, 'get?user'), 'null', 'which is over';
    like $c->get('/app/expire?7200')->header('Set-Cookie'), qr/Max-Age=7200/i, 'it can be kept for longer';
    $before = $c->copy;
    said($c, 'logout');
    is $c->cookie, undef, 'the end takes the cookie';
    is said($before->via($two), 'get?user'), 'null', 'and the session, everywhere';
}

sub late {
    my ($self, $one) = @_;
    my $c = client($one);
    put($c, { a => 1, cart => { n => 1 } });
    for my $how (@{ $self->{late} // ['nested', 'set'] }) {
        my $length = length $self->output;
        my $r = $c->get("/app/late?$how");
        unlike2($r->body, qr/done/, 'what follows is not sent') if $how eq 'set';
        ok wait_for(10, sub { substr($self->output, $length) =~ /session was changed (?:after|while)/ }),
            "$how: an error says so" or diag substr $self->output, $length;
    }
    dump_is($c, { a => 1, cart => { n => 1 } }, 'nothing else is stored');
}

sub unlike2 { my ($text, $pattern, $what) = @_; ok $text !~ $pattern, $what }

sub refused {
    my ($one) = @_;
    my $c = client($one);
    put($c, { a => 1 });
    is $c->get('/app/object')->status, 500, 'an object that is no data';
    my $r = $c->post('/app/put', json({ 'x' x 65 => 1 }), 'Content-Type: application/json');
    is $r->status, 500, 'a key that is too long';
    dump_is($c, { a => 1 }, 'the session is as it was');
}

sub bare {
    my ($one) = @_;
    my $r = client($one)->get('/bare/get?a', 'MemSess-State: active', 'MemSess-Data: user=root');
    is $r->status, 500, 'is an error' or diag $r->body;
}

sub unavailable {
    my ($self, $one) = @_;
    my $c = client($one);
    put($c, { a => 1 });
    my $cookie = $c->cookie;
    $_->pause for @{ $self->{servers} };
    my $r = $c->get('/app/get?a');
    is $r->status, 503, 'which the application says' or diag $r->{raw};
    ok !$r->header('Set-Cookie'), 'and leaves the cookie';
    $_->resume for @{ $self->{servers} };
    back_again(sub { $c->get('/app/get?a')->body eq '1' });
    is $c->cookie, $cookie, 'the same session';
    is said($c, 'get?a'), '1', 'with its data';
}

1;
