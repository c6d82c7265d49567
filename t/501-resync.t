# memsessctl resync: sessions that nobody uses get their second copy back, so that the memcacheds
# can be replaced one after the other.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use JSON::PP;
use MemSess::Faults;
use MemSess::Test;

my $SESSIONS = $ENV{MEMSESS_RESYNC_SESSIONS} // 40;

my $t_dir  = $ENV{MEMSESS_T_ROOT};
my $secret = private_file('resync-secret', '0123456789abcdef' x 4);

my $config = timing() . qq(
    <Location /admin>
        SetHandler memsess-admin
        Require ip 127.0.0.1
    </Location>
);
my %case = (sealed => "MemSessSecret file:$secret\n", plain => '');
plan tests => keys(%case) + 3;

# Runs memsessctl resync: its status and its output.
sub resync {
    my ($m) = @_;
    my $url = '--url http://127.0.0.1:' . $m->port . '/admin';
    my $text = qx($^X '$t_dir/../memsessctl' --conf /nowhere --json --wait 3 $url resync 2>/dev/null);
    return ($? >> 8, eval { decode_json($text) } // {});
}

# The records that do not have equal copies on two servers or more.
sub apart {
    my %copies;
    for my $items (map { items($_) } @_) {
        /^([\w-]{43})[\w-]+$/ && push @{ $copies{$1} }, $items->{$_} for keys %$items;
    }
    return grep { my ($first, @others) = @{ $copies{$_} }; !@others || grep { $_ ne $first } @others }
        sort keys %copies;
}

for my $case (sort keys %case) {
    my @pool = pool(3);
    my $m = MemSess::Member->start(servers => \@pool, config => $config . $case{$case});
    my @c = map { started($m, "user=u$_&n=$_") } 1 .. $SESSIONS;
    my @ended = map { started($m, 'user=gone') } 1 .. 4;
    $_->copy->get(say_via('lua', 'MemSess-Destroy: 1')) for @ended;

    subtest "$case: two are replaced in a row" => sub {
        for my $i (0, 1) {
            $pool[$i]->restart;
            my ($status, $said) = resync($m);
            is $status, 0, 'complete';
            diag "$said->{copied} copied for $SESSIONS sessions" if $ENV{MEMSESS_RESYNC_SESSIONS};
            cmp_ok $said->{copied}, '>', $SESSIONS / 3, 'those that it had are copied';
            ($status, $said) = resync($m);
            is_deeply [$status, $said->{copied}], [0, 0], 'and all are whole then';
            # On a busy machine a server may have seemed away: a record that was written then is
            # read again, and repaired, some seconds later.
            ok wait_for(20, sub { !apart(@pool) }), 'two copies of each, byte by byte'
                or diag join ' ', apart(@pool);
        }
        $pool[2]->kill9;
        my @lost = grep { (data($c[$_ - 1]) // '') ne "n=$_&user=u$_" } 1 .. $SESSIONS;
        is scalar @lost, 0, 'none is lost, with the third one away' or diag "@lost";
        is_deeply [grep { $_ eq 'active' } map { state($_) } @ended], [], 'nor is one revived';
        my $bad = grep { $_->get(say_via('lua', 'MemSess-Set: more=1'))->status != 200 } @c;
        is $bad, 0, 'all can be changed';
        $pool[2]->restart;
    };

    $m->stop;
}

my @pool = pool(3);
my $m = MemSess::Member->start(servers => \@pool, config => $config);
my @c = map { started($m, "n=$_") } 1 .. 12;

subtest 'what is not certain' => sub {
    $pool[0]->pause;
    is +(resync($m))[0], 1, 'a server is silent: not complete';
    $pool[0]->resume;
    ok wait_for(20, sub { (resync($m))[0] == 0 }), 'it is back';
};

subtest 'two records of one session' => sub {
    my ($c, $mark, @homes) = marked($m, @pool);
    my ($digest) = $homes[0][1] =~ /^([\w-]{43})/;
    my $old = $homes[0][0]->get($homes[0][1]);
    $c->copy->get(say_via('lua', 'MemSess-Destroy: 1'));
    $homes[0][0]->set($homes[0][1], $old);
    my ($status, $said) = resync($m);
    is_deeply [$status, $said->{differs}], [1, 1], 'are told, and left alone';
    is $homes[0][0]->get($homes[0][1]), $old, 'as it was';
    isnt state($c), 'active', 'what was ended stays so';
};

subtest 'the handler' => sub {
    my $post = sub { client($m)->post('/admin', $_[0], 'MemSess-Admin: 1',
        'Content-Type: application/x-www-form-urlencoded') };
    is $post->($_)->status, 400, $_
        for 'resync=x', 'resync=' . 'a' x 43, 'resync=' . 'a' x 43 . '.1x', 'resync=' . 'a' x 44 . '.1',
        'resync=x&user=a', 'resync=x&cookie=b';
    is decode_json($post->('resync=' . 'a' x 43 . '.9')->body)->{gone}, 1, 'one that is not there';
    is client($m)->post('/admin', 'resync=' . 'a' x 43 . '.9',
        'Content-Type: application/x-www-form-urlencoded')->status, 400, 'without the header';
    is_deeply [map { $_->{address} } @{ decode_json(client($m)->get('/admin?servers=1')->body)->{servers} }],
        [map { $_->address } @pool], 'the servers';
    my $one = MemSess::Member->start(servers => [$pool[0]], config => $config);
    my ($status) = resync($one);
    is $status, 2, 'with one copy of each there is nothing to copy';
};
