# An answer that sets a cookie is sent as soon as the session is written. If its head waited for the
# rest of a slow answer, it would replace a cookie that was set meanwhile with an older one.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use IO::Select;
use MemSess::FastCGI;
use MemSess::Faults;
use MemSess::Test;

my $fcgi    = MemSess::FastCGI->start;
my $modules = MemSess::Site::query('LIBEXECDIR');
my $secret  = private_file('306.secret', 's' x 40);
my @pool    = pool(2);
my @m = map { MemSess::Member->start(servers => \@pool, config => timing() . <<"END") } 1, 2;
LoadModule proxy_fcgi_module "$modules/mod_proxy_fcgi.so"
ProxyPass /fcgi/ fcgi://127.0.0.1:@{[ $fcgi->port ]}/
MemSessSecret file:$secret
MemSessLocalCache 1M
<LocationMatch /renewed>
    MemSessRenew 1ms
</LocationMatch>
<LocationMatch /deflate>
    SetOutputFilter DEFLATE
</LocationMatch>
ProxyPass /renewed/fcgi/ fcgi://127.0.0.1:@{[ $fcgi->port ]}/
ProxyPass /deflate/fcgi/ fcgi://localhost:@{[ $fcgi->port ]}/
END

plan tests => 4;

my $files = 0;

# A program that has begun to answer, and goes on until the returned function is called, which waits
# for the answer.
sub begun {
    my ($c, $path, @lines) = @_;
    my $until = sprintf '%s/logs/heads-%d-%d', $ENV{MEMSESS_T_ROOT}, $$, ++$files;
    my $request = background($c, "$path/begin?" . escape(join "\n", 'Content-Type: text/plain', @lines,
        '', "begun\n"), "X-Until: $until", 'Accept-Encoding: gzip');
    return ($request, sub { open my $out, '>', $until or die $!; return $request->wait });
}

# Whether the head comes while the program still runs.
sub comes {
    my ($request) = @_;
    my $select = IO::Select->new($request->{socket});
    while ($request->{answer} !~ /\r\n\r\n/) {
        $select->can_read(5) or return 0;
        $request->{socket}->sysread($request->{answer}, 65536, length $request->{answer}) or return 0;
    }
    return 1;
}

# mod_proxy_fcgi holds a short answer back until the program is over.
subtest 'a write, and a log-in meanwhile' => sub {
    my $c = started($m[0], 'n=0');
    my ($request, $end) = begun($c, '/fcgi', 'MemSess-Incr: n=1');
    ok comes($request), 'the head is there at once';
    $c->keep($_) for MemSess::HTTP::Response->parse($request->{answer})->header('Set-Cookie');
    $c->via($m[1])->get(say_via('lua', 'MemSess-Set: user=ann'));
    my $cookie = $c->cookie;
    is $end->()->body, "begun\nend\n", 'all of it comes';
    is data(client($m[0])->set_cookie($cookie)), 'n=1&user=ann', 'logged in';
};

# A filter before ours may hold everything back: then nothing is written yet.
subtest 'a filter that waits, and a log-in meanwhile' => sub {
    my $c = started($m[0], 'n=0');
    my ($request, $end) = begun($c, '/deflate/fcgi', 'MemSess-Incr: n=1');
    $c->via($m[1])->get(say_via('lua', 'MemSess-Set: user=ann'));
    $end->();
    is data($c), 'n=0&user=ann', 'logged in, and the write is dropped';
};

subtest 'an id that changes by itself, and once more meanwhile' => sub {
    my $c = started($m[0], 'n=0');
    my $old = $c->copy;
    my ($request, $end) = begun($c, '/renewed/fcgi');
    ok comes($request), 'the head is there at once';
    my ($told) = $request->{answer} =~ /^Set-Cookie: memsess=([^;]+)/m;
    isnt id_of($told // $old->cookie), id_of($old->cookie), 'with another id';
    $end->();
};

subtest 'an answer without a cookie waits as ever' => sub {
    my ($request, $end) = begun(client($m[0]), '/fcgi');
    ok !IO::Select->new($request->{socket})->can_read(0.5), 'nothing is sent for our sake';
    is $end->()->body, "begun\nend\n", 'all of it comes';
};
