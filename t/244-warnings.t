# What an operator is told: at start and by apachectl -t, about mistakes that are no errors; later,
# about events, and about members that do not fit together.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use Digest::SHA;
use JSON::PP;
use MemSess::Faults;
use MemSess::Status;
use MemSess::Test;
use MIME::Base64 qw(encode_base64url);

plan tests => 9;

my $config = timing() . q(
    <Location "/status">
        SetHandler memsess-status
    </Location>
);
my @pool = pool(2);

# The kinds of warnings in the form for Prometheus; there is a sample of each kind.
sub kinds {
    my ($family) = grep { $_->[0] eq 'memsess_warning' }
        metrics(client($_[0])->get('/status?format=prometheus')->body);
    my %value = map { $_->[1]{kind} => $_->[2] } @{ $family->[3] };
    is_deeply [sort keys %value],
        [qw(clock connections evictions name pool redundancy refusals secret slow)], 'each kind';
    return [grep { $value{$_} == 1 } sort keys %value];
}

# A secret that nobody else can read.
my $secret = private_file('secret', '0123456789abcdef' x 4);

subtest 'configuration' => sub {
    my ($two, $signed) = ('MemSessServers 127.0.0.1:1 127.0.0.1:2', "MemSessSecret file:$secret");
    my $no_secret = qr/there is no MemSessSecret/;
    my $one_copy =
        qr/MemSessRedundancy 1: each session of the server is on only one of its 2 servers/;
    my @cases = (
        ["$two", [$no_secret], [$one_copy]],
        ["$two\nMemSessSecret file:$secret", [], [$no_secret, $one_copy]],
        ["$two\n$signed\nMemSessRedundancy 1", [$one_copy], [$no_secret]],
        ["MemSessServers 127.0.0.1:1\n$signed\nMemSessRedundancy 1", [], [$one_copy]],
        ["MemSess Off\n", [], [$one_copy]],
    );
    for (@cases) {
        my ($directives, $said, $unsaid) = @$_;
        my ($status, $message) = MemSess::Member->check($directives);
        is $status, 0, 'accepted: ' . $directives =~ s/\n/ | /gr;
        my @n = map { my $pattern = $_; scalar(() = $message =~ /$pattern/g) } @$said;
        is_deeply \@n, [map { 1 } @$said], 'said once' or diag $message;
        unlike $message, $_, 'not said' for @$unsaid;
    }
};

subtest 'at start' => sub {
    my $m = MemSess::Member->start(servers => \@pool, config => $config);
    is scalar(() = $m->log->text =~ /there is no MemSessSecret/g), 1, 'once';
    $m->stop;
};

subtest 'in the status, for as long as the configuration lasts' => sub {
    my $m = MemSess::Member->start(servers => \@pool, config => "$config\nMemSessRedundancy 1");
    like join("\n", @{ status($m)->{warnings} }),
        qr/^MemSessRedundancy 1: each session of the server .*^there is no MemSessSecret/ms, 'JSON';
    like client($m)->get('/status')->body, qr/<li>there is no MemSessSecret/, 'the page';
    is_deeply kinds($m), [qw(redundancy secret)], 'Prometheus';
    $m->configure("$config\nMemSessSecret file:$secret");
    $m->graceful;
    is_deeply status($m)->{warnings}, [], 'mended: JSON';
    is_deeply kinds($m), [], 'mended: Prometheus';
    $m->stop;
};

my $m = MemSess::Member->start(servers => \@pool, config => "$config
    CustomLog \"\${T_DIR}/sessions\" \"%U %{MEMSESS_STATE}e %{MEMSESS_ID}e\"");

subtest 'access log' => sub {
    my $c = started($m);
    my $id = $c->get('/lua/env')->env('MEMSESS_ID');
    $c->copy(cookie => 'nonsense')->get('/lua/env');
    $c->get('/plain.txt');
    open my $in, '<', $m->dir . '/sessions' or die $!;
    my $lines = do { local $/; <$in> };
    like $lines, qr{^/lua/env active \Q$id\E$}m, 'state and public id';
    like $lines, qr{^/lua/env invalid -$}m, 'of every request';
    like $lines, qr{^/plain.txt active \Q$id\E$}m, 'whoever answers it';
};

subtest 'events' => sub {
    my ($c, $mark, @homes) = marked($m, @pool);
    client($m)->set_cookie('nonsense')->get('/lua/env') for 1 .. 4;
    ok $m->log->wait_for(qr/memsess:notice.*\d+ cookies were refused/), 'cookies refused';
    $pool[0]->delete((grep { $_->[0] == $pool[0] } @homes)[0][1]);
    ok repaired($c, $mark, 2, @pool), 'a copy is written again';
    ok $m->log->wait_for(qr/memsess:notice.*\d+ copies were missing or old, and were repaired/),
        'copies repaired';
    my $log = $m->log->mark;
    client($m)->set_cookie('nonsense')->get('/lua/env') for 1 .. 20;
    select undef, undef, undef, 6;
    unlike $m->log->text($log), qr/memsess:notice/, 'not again at once';
    $pool[0]->kill9;
    $c->get('/lua/env') for 1 .. 20;
    set_via($c, 'n=2');
    ok $m->log->wait_for(qr/memsess:error.*server \Q@{[ $pool[0]->address ]}\E is down/), 'down';
    ok $m->log->wait_for(qr/memsess:warn.*writes reached fewer servers/), 'too few copies';
    $pool[0]->restart;
    ok $m->log->wait_for(qr/memsess:notice.*server \Q@{[ $pool[0]->address ]}\E is back/), 'back';
    is scalar(() = $m->log->text($log) =~ /\Q@{[ $pool[0]->address ]}\E is (?:down|back)/g), 2,
        'each once';
};

# Members compare themselves 15 s after they started, and then once a minute, in case the first time
# failed. All groups start at once, each with servers or keys of its own.
sub sealing { return "$config\nMemSessSecret file:$secret\n" }
my @names  = map { $_->address } @pool;
my @differ = map { MemSess::Member->start(servers => $_,
    config => sealing() . 'MemSessNamespace differ') }
    \@names, ["$names[0]?weight=2", $names[1]], [@names[1, 0]];
my $pool_of_alike = MemSess::Memcached->start;
my @alike = map { MemSess::Member->start(servers => [$pool_of_alike], config => sealing()) } 1, 2;

# What an attacker has put where members leave their signs.
my $key = encode_base64url(substr Digest::SHA::sha512("memsess\0\0members"), 0, 32);
my $planted = '1 web9:abc 100 AAAAAAAA';
my @planted = map { MemSess::Memcached->start } 1, 2;
$_->set($key, $planted) for @planted;
my ($plain, $sealed) = map { my $n = $_; MemSess::Member->start(servers => [$planted[$n]],
    config => $n ? sealing() : $config) } 0, 1;

subtest 'members whose pools differ' => sub {
    my $warning = qr/memsess:warn.*member \S+ has a different pool from this one/;
    ok wait_for(100, sub { grep { $_->log->text =~ $warning } @differ }), 'somebody says so';
    my ($one) = grep { $_->log->text =~ $warning } @differ;
    is scalar(() = $one->log->text =~ /$warning/g), 1, 'once';
    like "@{ status($one)->{warnings} }", qr/a different pool from this one/, 'JSON';
    is_deeply kinds($one), [qw(pool)], 'Prometheus';
    like client($one)->get('/status')->body, qr/<li>member \S+ has a different pool/, 'the page';
    like status($one)->{verdict}{text}, qr/^All 2 servers are up, but another member has a different pool/,
        'and its verdict';
    # The member that compared last has found the signs of all.
    ok wait_for(70, sub { ($one) = grep { @{ status($_)->{members} } == 3 } @differ }),
        'all members are seen, not only who was the last at a server';
    my $seen = status($one)->{members};
    is_deeply [map { $_->{is_this} ? 1 : 0 } @$seen], [1, 0, 0], 'this one is the first';
    is_deeply [map { $_->{version} } @$seen], [(status($one)->{version}) x 3], 'versions';
    is_deeply [grep { $_->{seen_s_ago} > 200 || abs $_->{clock_ahead_s} > 3 } @$seen], [], 'just now, clocks alike';
    cmp_ok scalar(grep { !$_->{same_pool} } @$seen), '>=', 1, 'and whose pool is another';
    like client($one)->get('/status?format=prometheus')->body,
        qr/^memsess_member_seen_seconds\{member="\Q$seen->[1]{name}\E",version="[\d.]+"\} \d+$/m,
        'to Prometheus';
    like client($one)->get('/status')->body,
        qr{<th scope="row">\Q$seen->[1]{name}\E<br>.*version \d.*</th><td>\d+ s ago</td>}, 'the page';
    $_->stop for @differ;
};

subtest 'members whose pools and clocks are alike' => sub {
    # The signs are sealed, so that no name and time can be read in them. (A colon may be there by
    # chance.)
    my $items = sub { scalar grep { /^MSE/ && !/:[\w-]{8} [-\d]+ / } values %{ items($pool_of_alike) } };
    ok wait_for(100, sub { $items->() == 1 }), 'they have left their mark, sealed';
    select undef, undef, undef, 7;
    unlike $_->log->text, qr/a different pool|the clock of/, 'and nobody complains' for @alike;
    is_deeply status($_)->{warnings}, [], 'nor here' for @alike;
    $_->stop for @alike;
};

subtest 'a member whose clock is ahead' => sub {
    ok wait_for(100, sub { $plain->log->text
        =~ /memsess:warn.*the clock of member web9:abc is (?:99|10[01]) s ahead/ }), 'is named'
        or diag join ' ', %{ items($planted[0]) };
    is scalar(grep { /clock of member web9/ } @{ status($plain)->{warnings} }), 1,
        'in the status too';
    is_deeply kinds($plain), [qw(clock pool secret)], 'Prometheus; its pool is another, too';
    my ($web9) = grep { $_->{name} eq 'web9:abc' } @{ status($plain)->{members} };
    is_deeply [@$web9{qw(version is_this)}, $web9->{same_pool} ? 1 : 0], [undef, JSON::PP::false, 0],
        'among the members, which told no version';
    $plain->stop;
};

# With a secret, a sign that no member has sealed is not read: no word of it is in the log.
subtest 'what none of us has left' => sub {
    ok wait_for(100, sub { (items($planted[1])->{$key} // '') ne $planted }),
        'another takes its place';
    ok $sealed->log->wait_for(qr/memsess:warn.*by which members of this namespace see each other is not sealed/),
        'the log tells that';
    unlike $sealed->log->text, qr/web9/, 'and no word of it';
    is_deeply kinds($sealed), [], 'nobody is warned of';
    $sealed->stop;
};
