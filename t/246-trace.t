# LogLevel memsess:trace1: the whole way of one request, by digests, and never an id or a value.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Faults;
use MemSess::Test;

plan tests => 5;

my @pool = pool(2);
my $traced = MemSess::Member->start(servers => \@pool, config => 'LogLevel memsess:trace1');
my $log = $traced->log;

# The trace lines of what the code does, only the messages.
sub traced(&) {
    my ($code) = @_;
    my $mark = $log->mark;
    $code->();
    return join "\n", $log->text($mark) =~ /\[memsess:trace1\].*?(MemSess: .*)/g;
}

my ($c, $digest);

subtest 'a session begins' => sub {
    my $lines = traced { $c = client($traced); set_via($c, 'word=tell-nobody', 'lua') };
    like $lines, qr/cookie memsess: none$/m, 'no cookie came';
    like $lines, qr/the state is none$/m, 'state';
    ($digest) = $lines =~ /session \(new\): committed, as session ([\w-]{12}), revision 1$/m;
    ok $digest, 'a digest' or diag $lines;
    for my $address (map { $_->address } @pool) {
        like $lines, qr/record \Q$digest: server $address\E was sent revision 1: stored$/m,
            $address;
    }
    like $lines, qr/cookie memsess: set$/m, 'the cookie goes';
};

subtest 'it is read and changed' => sub {
    my $lines = traced { set_via($c, 'word=tell-him', 'lua') };
    my @steps = ('cookie memsess: valid',
        "record $digest: server " . $pool[0]->address . ' has it (revision 1)',
        "session $digest: found in the pool, revision 1",
        'the state is active',
        "record $digest: the claim of revision 2 is ours",
        "record $digest: server " . $pool[0]->address . ' was sent revision 2: stored',
        "session $digest: committed, as session $digest, revision 2");
    my $way = join '.*', map { quotemeta } @steps;
    like $lines, qr/$way/s, 'the whole way, in order';
};

subtest 'it gets another id, and ends' => sub {
    my $lines = traced { $c->get(say_via('lua', 'MemSess-Renew: 1')) };
    my ($next) = $lines =~ /session \Q$digest\E: committed, as session ([\w-]{12}), /;
    ok $next && $next ne $digest, 'both digests in one line' or diag $lines;
    $lines = traced { $c->get(say_via('lua', 'MemSess-Destroy: 1')) };
    like $lines, qr/session \Q$next\E: ended, as session \(none\)/, 'ended';
    like $lines, qr/cookie memsess: cleared$/m, 'the cookie is cleared';
};

subtest 'a bad cookie' => sub {
    my $lines = traced { client($traced)->set_cookie('nonsense-0123')->get('/lua/env') };
    like $lines, qr/cookie memsess: invalid$/m, 'invalid';
    unlike $lines, qr/record /, 'no server is asked';
};

subtest 'neither ids nor values' => sub {
    my $text = $log->text;
    unlike $text, qr/tell-|nonsense-0123/, 'no value, no bad cookie';
    unlike $text, qr/\Q$_\E/, 'no cookie' for keys %MemSess::Client::secrets;
    my $quiet = MemSess::Member->start(servers => \@pool, config => "LogLevel memsess:debug");
    data(started($quiet));
    unlike $quiet->log->text, qr/trace1|the state is/, 'nothing of it by default';
};
