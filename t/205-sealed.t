# Sealed records: a reader of memcached learns nothing, and a writer to it can at most make a
# session disappear.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use Digest::SHA qw(sha512);
use MemSess::Clock;
use MemSess::Faults;
use MemSess::Test;
use MIME::Base64 qw(encode_base64url);

plan tests => 13;

my $secret = private_file('205-secret', 'x' x 32);

my @pool   = pool(2);
my $config = timing() . "MemSessSecret file:$secret\n";
my $one    = MemSess::Member->start(servers => [$pool[0]],
    config => $config . "MemSessCompress 2048\n");
my $two    = MemSess::Member->start(servers => \@pool,
    config => "$config\n<LocationMatch /renew>\nMemSessRenew 1ms\n</LocationMatch>\n");
my $locks  = MemSess::Member->start(servers => [$pool[0]],
    config => "$config\nMemSessLock request\nMemSessLockWait 40s\n");

# The records that were created on a server while the code ran: key => value.
sub born {
    my ($server, $code) = @_;
    my $before = items($server);
    $code->();
    my $after = items($server);
    return map { $_ => $after->{$_} } grep { !/\./ && !exists $before->{$_} } keys %$after;
}

# A session of the member with one server, and its record: client, key, value.
sub recorded {
    my ($form) = @_;
    my $c;
    my @record = born($pool[0], sub { $c = started($one, $form) });
    @record == 2 or die "not one record but @{[@record / 2]}";
    return ($c, @record);
}

# The session is gone, nobody's data shows, and the log says so.
sub is_gone {
    my ($c, $what, $key, $why) = @_;
    my $mark = $one->log->mark;
    my $r = $c->copy->get('/lua/env');
    is $r->status, 200, "$what: no error";
    is $r->env('MEMSESS_STATE'), 'unknown', "$what: unknown";
    ok leaves_cookie($r), "$what: the cookie stays" or diag $r->{raw};
    unlike $r->body, qr/anna|bert|1234/, "$what: no data";
    my $digest = substr $key, 0, 12;
    my $server = $pool[0]->address;
    like $one->log->text($mark),
        qr/:error\].*server \Q$server\E: the record of session \Q$digest\E is .*$why/,
        "$what: the log is loud"
        if $why;
}

my ($bert, $his_key, $his_record) = recorded('who=bert');

# The key of a session's other copy.
sub twin {
    my ($key) = @_;
    my ($twin) = grep { substr($_, 0, 43) eq substr($key, 0, 43) && !/\./ } $pool[1]->keys;
    return $twin;
}

subtest 'nothing shows in memcached' => sub {
    my $c = started($two, 'AttributeName=AttributeValue');
    my @words = (public($c), split /\./, $c->cookie);
    set_via($c, 'large=' . 'LargeValue' x 500);
    $c->get(say_via('cgi', 'MemSess-Renew: 1'));
    push @words, split /\./, $c->cookie;
    $c->get(say_via('cgi/renew', 'MemSess-Incr: n=1'));
    push @words, split /\./, $c->cookie;
    like data($c), qr/^AttributeName=AttributeValue&large=/, 'the session is there';
    for my $server (@pool) {
        my $all = join ' ', %{ items($server) };
        cmp_ok length $all, '>', 100, 'something is stored';
        is index($all, $_), -1, "not: $_" for @words,
            qw(AttributeName AttributeValue LargeValueLarge bert MSS);
    }
    my $records = 0;
    for my $server (@pool) {
        my $items = items($server);
        for my $key (grep { !/\./ } keys %$items) {
            $records++;
            # In random bytes each value has a share of 1 in 256; compressed or plain data is far
            # from that.
            my %seen;
            $seen{$_}++ for split //, substr $items->{$key}, 24;
            my ($most) = sort { $b <=> $a } values %seen;
            cmp_ok $most, '<', 12 + length($items->{$key}) / 25, 'it looks random';
        }
    }
    cmp_ok $records, '>=', 4, 'records were seen';
};

# A client that sets one attribute, and sees how long the record gets, could guess at another one.
subtest "a record's length tells of nothing but length" => sub {
    my $lengths = sub {
        my ($config) = @_;
        return map {
            my ($server) = pool(1);
            my $m = MemSess::Member->start(servers => [$server], config => $config);
            started($m, 'code=' . '123456' x 400 . "&guess=$_");
            my $items = items($server);
            my @records = grep { !/\./ } keys %$items;
            is scalar(@records), 1, 'one record';
            $_->stop for $m, $server;
            length $items->{ $records[0] };
        } '123456' x 400, join '', map { int rand 10 } 1 .. 2400;
    };
    my ($alike, $random) = $lengths->($config);
    is $alike, $random, 'a guess that is right and one that is wrong';
    cmp_ok $alike, '>', 4800, 'it is not compressed';
    ($alike, $random) = $lengths->($config . 'MemSessCompress 2048');
    cmp_ok $alike, '<', 1000, 'compressed, where somebody says so';
    cmp_ok $alike, '<', $random, 'and then it tells';
    ($alike) = $lengths->($config . 'MemSessSeal Off');
    cmp_ok $alike, '<', 1000, 'what is not sealed is compressed as ever';
};

for my $form ('card=1234&who=anna', 'card=1234&pad=' . 'x' x 5000 . '&who=anna') {
    my ($anna, $key, $record) = recorded($form);
    my $what = length $form < 5000 ? 'small' : 'compressed';

    subtest "$what: altered" => sub {
        my $with = sub {
            my ($value, @how) = @_;
            $pool[0]->set($key, $value);
            is_gone($anna, @how);
            $pool[0]->set($key, $record);
        };
        for my $at (0 .. length($record) - 1) {
            my $changed = $record;
            substr($changed, $at, 1) ^= chr(1 << $at % 8);
            # Above some lines a second, the log leaves messages out.
            $with->($changed, "byte $at", $key);
        }
        let_pass(1);
        $with->(substr($record, 0, -1) . (substr($record, -1) ^ "\1"), 'the last byte', $key,
            'altered');
        $with->(substr($record, 0, $_), "$_ bytes", $key, $_ < 52 ? 'not sealed' : 'altered') for 0,
            51, 52, length($record) - 1;
        $with->($record . 'x', 'extended', $key, 'altered');
        $with->($record . $record, 'twice', $key, 'altered');
        $with->('x' x 1000, 'something else', $key, 'not sealed');
        $with->($his_record, "another session's", $key, "another session's");
        $with->(substr($record, 0, 24) . substr($his_record, 24), "another's under its name", $key,
            'altered');
        is data($anna), $form, 'and back again';
    };
}

subtest 'two records are swapped' => sub {
    my ($anna, $key, $record) = recorded('card=1234&who=anna');
    $pool[0]->set($key, $his_record);
    $pool[0]->set($his_key, $record);
    is_gone($anna, 'hers', $key,     "another session's");
    is_gone($bert, 'his',  $his_key, "another session's");
    my $writer = $anna->copy;
    set_via($writer, 'new=1');
    is data($writer), 'new=1', 'who writes begins another session';
    $pool[0]->set($key, $record);
    $pool[0]->set($his_key, $his_record);
    is data($anna), 'card=1234&who=anna', 'put back';
    is data($bert), 'who=bert', 'put back';
};

subtest 'what is not sealed is refused, and switching it on or off ends sessions' => sub {
    my $plain = MemSess::Member->start(servers => [$pool[0]],
        config => $config . 'MemSessSeal Off');
    my $c;
    my ($key, $record) = born($pool[0], sub { $c = started($plain, 'who=anna') });
    like $record, qr/anna/, 'MemSessSeal Off: in the clear';
    is data($c), 'who=anna', 'and read';
    is_gone($c->copy(server => $one), 'unsealed', $key, 'not sealed');
    is state($bert->copy(server => $plain)), 'unknown', 'sealed, where nothing is';
    # A writer to memcached can write anything, with the right name on it.
    my $forged = $record =~ s/anna/mary/r;
    $pool[0]->set($key, "MSE\1$forged");
    is_gone($c->copy(server => $one), 'unsealed, but it says it is', $key, '');
    $plain->stop;
};

subtest 'one of two copies is altered' => sub {
    for my $n (0, 1) {
        my $c;
        my $server = $pool[$n];
        my ($key) = born($server, sub { $c = started($two, 'who=anna') });
        my $record = $server->get($key);
        settle();
        my $mark = $two->log->mark;
        $server->set($key, $record ^ ("\0" x 60 . "\1"));
        is data($c), 'who=anna', "copy $n: the other one has it";
        like $two->log->text($mark), qr/:error\].*altered/, 'the log is loud';
        ok wait_for(20, sub { my $mark = $two->log->mark;
            data($c) && $two->log->text($mark) !~ /altered/ }), 'it is repaired';
    }
};

subtest 'one copy is rolled back' => sub {
    for my $n (0, 1) {
        my $c;
        my ($key, $record) = born($pool[$n], sub { $c = started($two, 'money=1000') });
        set_via($c, 'money=0');
        $pool[$n]->set($key, $record);
        is data($c), 'money=0', "copy $n: the newer one wins";
        settle();
        data($c);
        ok wait_for(20, sub { data($c) && $pool[$n]->get($key) ne $record }), 'and it is repaired';
    }
};

subtest 'replayed after the end' => sub {
    for my $end (qw(Destroy Renew)) {
        for my $n (0, 1) {
            my $c;
            my ($key, $record) = born($pool[$n], sub { $c = started($two, 'who=anna') });
            my $old = $c->copy;
            $c->get(say_via('cgi', "MemSess-$end: 1"));
            $pool[$n]->set($key, $record);
            is state($old->copy), 'unknown', "$end: the old record on server $n";
            is state($old->copy), 'unknown', "$end: nor later";
        }
    }
};

# All copies were put back; the user's epoch still shows that the session ended.
subtest 'all copies replayed after the end of all sessions of the user' => sub {
    my $c = started($two, 'user=anna');
    my $stolen = $c->copy;
    my $text = encode_base64url(substr sha512("memsess\0\0" . substr $c->cookie, 0, 24), 0, 32);
    my @copies = map { my $server = $_;
        map { [$server, $_, $server->get($_)] } grep { /^\Q$text\E[^.]*$/ } $server->keys } @pool;
    is scalar(@copies), 2, 'two copies';
    is $c->get(say_via('cgi', 'MemSess-Destroy: all'))->status, 200, 'all are ended';
    for my $copy (@copies) {
        my ($server, $key, $record) = @$copy;
        isnt $server->get($key), $record, 'a tombstone';
        $server->set($key, $record);
    }
    is state($stolen->copy), 'unknown', 'it stays so';
};

# The tombstone of an id that MemSessRenew changed says where the session went.
subtest 'tombstones are altered' => sub {
    my (%old, %tomb);
    for my $who (qw(anna bert)) {
        my $c;
        my ($key) = born($pool[0], sub { $c = started($two, "who=$who") });
        $old{$who} = $c->copy;
        $c->get(say_via('cgi/renew', 'MemSess-Incr: n=1'));
        isnt $c->cookie, $old{$who}->cookie, "$who: has another id";
        is data($old{$who}->copy), "n=1&who=$who", "$who: the old one leads there";
        $tomb{$who} = [[$key, $pool[0]->get($key)], [twin($key), $pool[1]->get(twin($key))]];
    }
    for my $n (0, 1) {
        $pool[$n]->set($tomb{anna}[$n][0], $tomb{bert}[$n][1]);
        $pool[$n]->set($tomb{bert}[$n][0], $tomb{bert}[$n][1] ^ ("\0" x 150 . "\1"));
    }
    for my $who (sort keys %old) {
        my $r = $old{$who}->copy->get('/lua/env');
        is $r->env('MEMSESS_STATE'), 'unknown', "$who: leads nowhere";
        unlike $r->body, qr/who/, 'to nobody';
    }
};

# A commit waits for what may be another writer's claim, and removes what no member can have made.
subtest 'claims and locks that none of us made, or that are old, cost no change' => sub {
    my ($c, $key) = recorded('n=0&sum=0');
    my $plant = sub {
        my ($what, $value, $ttl) = @_;
        $pool[0]->command(sprintf "set %s 0 %d %d\r\n%s", "$key.$what", $ttl, length $value, $value);
    };
    my $mark = $one->log->mark;
    my $start = time;
    $plant->(2, 'planted words', 600);
    set_via($c, 'n=1');
    my $old = $pool[0]->get("$key.2");
    like $old, qr/^MSE/, 'one of ours took its place, for a while';
    $plant->($_, $old, 600) for 3, 4;
    $c->get(say_via('cgi', 'MemSess-Incr: sum=1')) for 1, 2;
    is data($c), 'n=1&sum=2', 'claims of another revision are none';
    $plant->('lock', $old, 600);
    is data($c->copy(server => $locks)), 'n=1&sum=2', 'and no lock';
    cmp_ok time - $start, '<', 30, 'nobody waited';
    like $one->log->text($mark), qr/:error\].*claim 2 of session \S+ is not a member's/,
        'the log is loud';
    unlike $one->log->text($mark), qr/planted words/, 'and has no word of it';
};

subtest 'never an error' => sub {
    is scalar(grep { / (?:500|503)$/ } map { split /\n/,
        do { open my $in, '<', $_->dir . '/access_log' or die; local $/; <$in> } } $one, $two,
        $locks),
        0, 'no answer was 500 or 503';
};
