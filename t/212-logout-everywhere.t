# MemSess-Destroy: all ends every session of the user, on every member, and nothing brings any of
# them back.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Clock;
use MemSess::Faults;
use MemSess::Test;
use MemSess::Wire;

plan tests => 16;

my @pool   = pool(4);
my $config = timing() . q(
    <LocationMatch "/named">
        MemSessUserAttr login.name
    </LocationMatch>
    <LocationMatch "/nolock">
        MemSessLock none
    </LocationMatch>
    <LocationMatch "/onelock">
        MemSessLock request
    </LocationMatch>
    <LocationMatch "/anonymous">
        MemSessOnError anonymous
    </LocationMatch>
    <LocationMatch "/members">
        AuthType MemSess
        Require valid-user
    </LocationMatch>
);
my @m = map { MemSess::Member->start(servers => \@pool, config => $config) } 1 .. 2;

my $users = 0;
sub user { return sprintf 'user%dx%d', $$, ++$users }

sub logged_in {
    my ($user, $member, $where) = @_;
    my $c = client($member // $m[0]);
    $c->get(say_via($where ? "cgi$where" : 'lua', "MemSess-Set: user=$user", 'MemSess-Renew: 1'));
    return $c;
}

sub log_out { my ($c, $where) = @_;
    return $c->get(say_via('cgi' . ($where // ''), 'MemSess-Destroy: all')) }

sub states { my ($c) = @_; return map { state($c->copy(server => $_)) // 'refused' } @m }

sub all_are { my ($state, $what, @clients) = @_;
    is "@{[ states($_) ]}", "$state $state", $what for @clients }

subtest 'every session of the user' => sub {
    my ($ann, $bob) = (user(), user());
    my @hers   = map { logged_in($ann, $m[$_ % 2]) } 1 .. 5;
    my $his    = logged_in($bob);
    my $nobody = started($m[0], 'a=1');
    all_are('active', 'before', @hers, $his, $nobody);
    my $old = $hers[0]->copy;
    my $r = log_out($hers[0]);
    is $r->status, 200, 'asked for';
    ok clears_cookie($r), 'her cookie is cleared';
    all_are('unknown', 'hers are over', $old, @hers[1 .. 4]);
    all_are('active', 'others are not', $his, $nobody);
    ok leaves_cookie($hers[1]->copy->get('/cgi/env')), 'those of the others stay';
    is $hers[2]->copy->get('/cgi/env/members')->status, 401, 'she is nobody';
    my $again = logged_in($ann, $m[1]);
    all_are('active', 'she logs in again', $again);
    all_are('unknown', 'what was over stays so', @hers[1 .. 4]);
    is $again->get('/cgi/env/members')->env('REMOTE_USER'), $ann, 'and is known';
    log_out($again);
    all_are('unknown', 'and out again', @hers[1 .. 4]);
};

subtest 'what it says' => sub {
    my $ann = user();
    my ($one, $other) = map { logged_in($ann) } 1, 2;
    is $one->copy->get(say_via('cgi', 'MemSess-Destroy: every'))->status, 500, 'another word';
    all_are('active', 'changes nothing', $one, $other);
    is $one->copy->get(say_via('cgi', 'MemSess-Destroy: 1'))->status, 200, 'one alone';
    all_are('unknown', 'is over', $one);
    all_are('active', 'the other is not', $other);
    $one = logged_in($ann);
    $one->get(say_via('proxy', 'MemSess-Destroy: 1', 'MemSess-Destroy: ALL', 'MemSess-Set: a=new'));
    all_are('unknown', 'both: all', $other);
    is data($one), 'a=new', 'with Set: a new session';
    $other = logged_in($ann);
    $one = logged_in($ann);
    $one->get(say_via('cgi', 'MemSess-Destroy: all', "MemSess-Set: user=$ann"));
    all_are('unknown', 'the others are over', $other);
    all_are('active', 'with Set of the user: logged in again', $one);
    is client($m[0])->get(say_via('cgi', 'MemSess-Destroy: all'))->status, 200,
        'without a session: nothing';
};

subtest 'without a user, this session alone' => sub {
    my ($one, $other) = map { started($m[0], 'user=&a=1') } 1, 2;
    ok clears_cookie(log_out($one->copy)), 'cleared';
    all_are('unknown', 'this one', $one);
    all_are('active', 'not the other', $other);
};

subtest 'MemSessUserAttr' => sub {
    my $ann = user();
    my @c = map { my $c = client($m[0]);
        $c->get(say_via('cgi/named', "MemSess-Set: login.name=$ann&user=x$ann")); $c } 1, 2;
    my $namesake = logged_in("x$ann");
    log_out($c[0], '/named');
    all_are('unknown', 'by that name', $c[1]);
    all_are('active', 'and not by another', $namesake);
};

subtest 'whose a session is can change' => sub {
    my ($ann, $bob) = (user(), user());
    my ($one, $two, $three) = map { logged_in($ann) } 1 .. 3;
    set_via($one, "user=$bob");
    $two->get(say_via('cgi', 'MemSess-Unset: user'));
    log_out($three);
    all_are('active', "another's, nobody's", $one, $two);
    log_out(logged_in($bob));
    all_are('unknown', "and his with his", $one);
    my $late = started($m[0], 'a=1');
    my $before = $late->cookie;
    set_via($late, "user=$ann");
    ok $late->cookie =~ /^(.{24})~/ && $1 ne $before, 'logged in without Renew: another id'
        or diag $late->cookie;
    log_out(logged_in($ann));
    all_are('unknown', 'hers', $late);
};

subtest 'renewed by itself or not, it stays hers' => sub {
    my $ann = user();
    my ($one, $two) = map { logged_in($ann) } 1, 2;
    $one->get(say_via('cgi', 'MemSess-Renew: 1')) for 1 .. 2;
    set_via($one, "a=$_") for 1 .. 2;
    log_out($two);
    all_are('unknown', 'over', $one);
};

for my $where (qw(/nolock /onelock)) {
    subtest "MemSessLock, $where" => sub {
        my $ann = user();
        my @c = map { logged_in($ann, $m[0], $where) } 1 .. 3;
        is $c[0]->copy->get("/cgi/env$where")->env('MEMSESS_STATE'), 'active', 'before';
        is log_out($c[0], $where)->status, 200, 'asked for';
        is $c[1]->copy->get("/cgi/env$where")->env('MEMSESS_STATE'), 'unknown', 'over';
        all_are('unknown', 'over', $c[2]);
    };
}

subtest 'one round trip, and none more without a user' => sub {
    my $memcached = MemSess::Memcached->start;
    my $wire = MemSess::Wire->start($memcached);
    my $m = MemSess::Member->start(servers => [$wire],
        config => "MemSessTimeout 2s\nMemSessRefresh 10min");
    my $reads = sub {
        my ($c) = @_;
        my $from = () = $wire->journal;
        is state($c), 'active', 'read';
        my @lines = map { s/^\d+ //r } $wire->journal;
        return grep { !/^version/ } @lines[$from .. $#lines];
    };
    my $ann = user();
    my $c = logged_in($ann, $m);
    my ($id) = split /~/, $c->cookie;
    state($c) for 1 .. 2;
    my @lines = $reads->($c);
    is scalar(@lines), 1, 'one command' or diag join "\n", @lines;
    is scalar(split ' ', $lines[0]), 3, 'of two keys';
    my @plain = $reads->(started($m, 'a=1'));
    is scalar(@plain), 1, 'without a user' or diag join "\n", @plain;
    is scalar(split ' ', $plain[0]), 2, 'one key';
    for my $cookie ($id, "$id~AAAAAAAAAAAAAAAA") {
        my $other = client($m)->set_cookie($cookie);
        is scalar($reads->($other)), 2, 'no hint, or a wrong one: one more';
        is $other->cookie, $c->cookie, 'the cookie is set again';
        is scalar($reads->($other)), 1, 'and then one';
    }
    is state(client($m)->set_cookie($_)), 'invalid', "malformed: $_"
        for "$id~", "$id~AAAA", "$id~AAAAAAAAAAAAAAAAA", "$id~AAAAAAAAAAAAAAA.",
        "$id~~AAAAAAAAAAAAAAA";
    my $hint = ($c->cookie =~ /~(.*)/)[0];
    is state(client($m)->set_cookie($_)), 'invalid', "no session: $_"
        for "epoch.$hint", $hint, "epoch.$hint~$hint";
    $m->stop;
};

# A session of a new user, and the keys of the user's epoch: the new records without the user's name.
sub epochs_of {
    my ($user) = @_;
    my %before = map { my $s = $_; map { ("$s->{port} $_" => 1) } keys %{ items($s) } } @pool;
    my $c = logged_in($user);
    my @epochs;
    for my $s (@pool) {
        my $items = items($s);
        push @epochs, map { [$s, $_] } grep {
            !$before{"$s->{port} $_"} && !/\./ && index($items->{$_}, $user) < 0
        } keys %$items;
    }
    return ($c, @epochs);
}

subtest 'the epoch is lost: over, and never back' => sub {
    my $ann = user();
    my ($c, @epochs) = epochs_of($ann);
    is scalar(@epochs), 2, 'two copies' or return;
    $epochs[0][0]->delete($epochs[0][1]);
    let_pass(0.3);
    all_are('active', 'one copy is lost', $c);
    ok wait_for(20, sub { state($c->copy); defined $epochs[0][0]->item($epochs[0][1]) }),
        'and repaired';
    $_->[0]->delete($_->[1]) for @epochs;
    all_are('unknown', 'both are', $c);
    my $again = logged_in($ann);
    all_are('active', 'she logs in again', $again);
    all_are('unknown', 'what is over stays so', $c);
    log_out($again->copy);
    all_are('unknown', 'all', $again);
};

subtest 'an old epoch comes back' => sub {
    my $ann = user();
    my ($c, @epochs) = epochs_of($ann);
    my $other = logged_in($ann);
    $epochs[0][0]->pause;
    is log_out($c->copy)->status, 200, 'while one copy was away';
    all_are('unknown', 'over', $c, $other);
    $epochs[0][0]->resume;
    settle();
    all_are('unknown', 'it is not believed', $c, $other) for 1 .. 2;
};

subtest 'the store cannot answer' => sub {
    my $ann = user();
    my ($c, @epochs) = epochs_of($ann);
    my $other = logged_in($ann);
    $_->pause for @pool;
    for my $where ('', '/anonymous') {
        my $r = log_out($c->copy, $where);
        is $r->status, 503, "$where: not done" or diag $r->{raw};
        is scalar($r->header('Set-Cookie')), '', "$where: the cookie stays";
    }
    $_->resume for @pool;
    settle();
    ok wait_for(20, sub { join(' ', states($c), states($other)) eq 'active active active active' }),
        'nothing was changed';
    ok wait_for(20, sub { log_out($c->copy)->status == 200 }), 'now it is';
    all_are('unknown', 'over', $c, $other);
};

subtest 'many log-ins of a new user at once' => sub {
    for my $round (1 .. 3) {
        my $ann = user();
        my @cookies = at_once(6, sub { logged_in($ann, $m[$_[0] % 2])->cookie // 'none' });
        my @c = map { client($m[0])->set_cookie($_) } @cookies;
        all_are('active', 'each', @c);
        log_out($c[0]->copy);
        all_are('unknown', 'all are over', @c);
    }
};

sub secret {
    my $file = "$ENV{MEMSESS_T_ROOT}/logs/secret-$$";
    open my $out, '>', $file or die "$file: $!";
    print $out 'A secret of this test, long enough to be one';
    close $out;
    chmod 0600, $file;
    return "MemSessSecret file:$file\n";
}

subtest 'signed and sealed' => sub {
    my $m = MemSess::Member->start(servers => \@pool, config => timing() . secret());
    my $ann = user();
    my ($one, $two) = map { logged_in($ann, $m) } 1, 2;
    my ($id, $hint, $mac) = $one->cookie =~ /^([\w-]{24})~([\w-]{16})\.([\w-]{24})$/
        or diag $one->cookie;
    is state($one), 'active', 'logged in';
    is state(client($m)->set_cookie("$id~" . reverse($hint) . ".$mac")), 'invalid', 'another hint';
    is state(client($m)->set_cookie("$id.$mac")), 'invalid', 'no hint';
    log_out($one->copy);
    is state($_), 'unknown', 'over' for $one, $two;
    $m->stop;
};

subtest 'the local cache' => sub {
    my @m = map {
        MemSess::Member->start(servers => \@pool,
            config => timing() . secret() . "MemSessLocalCache 1M max-age=1s\n")
    } 1 .. 2;
    my $ann = user();
    my ($one, $two, $three) = map { logged_in($ann, $m[0]) } 1 .. 3;
    $_->get('/lua/env') for $one, $two, $three;
    log_out($one->copy(server => $m[1]));
    # Writing does not keep a session alive that only the cache still has.
    is data($two->copy(server => $m[1])), undef, 'over at the other member at once';
    $three->get(say_via('lua', 'MemSess-Incr: n=1'));
    isnt state($three->copy), 'active', 'a write finds out';
    ok wait_for(20, sub { state($two->copy) eq 'unknown' }),
        'the cache has it no longer than max-age';
    $_->stop for @m;
};

subtest 'the epoch lives as long as the sessions' => sub {
    my $m = MemSess::Member->start(servers => \@pool, config => timing() . "MemSessIdleTimeout 20s");
    my $ann = user();
    my $c = client($m);
    $c->get(say_via('lua', "MemSess-Set: user=$ann"));
    my $end = now + 70;
    my $lost = 0;
    while (now < $end) {
        $lost ||= state($c->copy) ne 'active';
        let_pass(3);
    }
    ok !$lost, 'three idle time-outs';
    log_out($c->copy);
    is state($c->copy), 'unknown', 'and then over';
    $m->stop;
};
