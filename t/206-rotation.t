# A secret is rotated over two members, in the order that docs/reference.md gives: no session is lost at
# any step, and cookies and records move to the new secret as they are used.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Faults;
use MemSess::Test;
use Digest::SHA qw(sha512);
use MIME::Base64 qw(encode_base64url);

plan tests => 14;

my $dir = "$ENV{MEMSESS_T_ROOT}/logs/206-$$";
mkdir $dir or die "$dir: $!";
my %source;
for my $name (qw(old new other)) {
    open my $out, '>', "$dir/$name" or die "$dir/$name: $!";
    print $out $name x 16, "\n";
    close $out;
    chmod 0600, "$dir/$name";
    $source{$name} = "file:$dir/$name";
}

# Nothing is re-dated while this test runs: a record is written again only because of the secret.
sub config { return timing() . "MemSessRefresh 10min\nMemSessSecret @source{@_}\n" . q(
    LuaMapHandler ^/shop/(\w+)$ "${T_ROOT}/lua/$1.lua"
    <Location /shop>
        MemSessUserAttr customer
    </Location>
) }

my @pool = pool(2);
my @m    = map { MemSess::Member->start(servers => \@pool, config => config('old')) } 1 .. 2;

# The new configuration is in force everywhere once the old processes are gone.
sub give {
    my ($member, @names) = @_;
    my %before = map { $_ => 1 } children_of($member);
    $member->configure(config(@names));
    $member->graceful;
    wait_for(60, sub { !grep { $before{$_} } children_of($member) })
        or die 'old processes do not end';
}

my (%visited, %written, $count);

# All clients go to both members; some read, some write, and new ones come.
sub live {
    my ($step) = @_;
    for my $n (0, 1) {
        for my $kind (\%visited, \%written) {
            $count++;
            $kind->{$count} = started($m[$n], "n=0&born=$count");
        }
    }
    for my $n (0, 1) {
        for my $id (sort keys %visited) {
            my $c = $visited{$id}->via($m[$n]);
            is data($c), "born=$id&n=0", "$step: $id is read on member $n";
        }
        for my $id (sort keys %written) {
            my $c = $written{$id}->via($m[$n]);
            my $before = attr($c->get('/lua/env'), 'n');
            $c->get(say_via('lua', 'MemSess-Incr: n=1'));
            is attr($c->get('/lua/env'), 'n'), $before + 1, "$step: $id is written on member $n";
        }
    }
}

# The part of a cookie's value behind the id.
sub mac { my ($c) = @_; return $c->cookie =~ /\.([^.]*)$/ ? $1 : undef }

sub logged_in { my ($user, $n) = @_; my $c = client($m[$n]);
    $c->get(say_via('lua', "MemSess-Set: user=$user")); return $c }

# Each of these sessions has this state on both members; the request counts as use.
sub all_are { my ($state, $what, @c) = @_;
    is_deeply [map { my $c = $_; map { state($c->via($m[$_])) } 0, 1 } @c], [($state) x (2 * @c)],
        $what }

# The part of a cookie that stands for the user's name.
sub hint { my ($c) = @_; return $c->cookie =~ /~([^.]*)/ ? $1 : undef }

# Sessions of users: ann begins one at each step, and all of hers are used at each later step; bob's
# are all left alone until he logs out.
my (@ann, %bob);

subtest 'a name can be told by nobody who has no secret' => sub {
    @ann = (logged_in('ann', 0));
    for my $him (1, 2) { $bob{$him} = [map { logged_in("bob$him", $_) } 0, 1] }
    my $digest = encode_base64url(substr sha512("memsess-user\0\0ann"), 0, 12);
    my $key = encode_base64url(substr sha512("memsess\0\0epoch.$digest"), 0, 32);
    isnt hint($ann[0]), $digest, 'not by the cookie';
    is_deeply [grep { index($_, $key) == 0 } map { keys %{ items($_) } } @pool], [],
        'nor by a key';
    is hint(logged_in('ann', 1)), hint($ann[0]), 'alike on each member';
};

# From here on she goes to sections where another attribute names the user, and its value is no
# user's name.
my @eve = map { logged_in('eve', $_) } 0, 1;
$_->get(say_via('lua', 'MemSess-Set: customer=17')) for @eve;

subtest 'one secret' => sub { live('one') };

my @old = map { started($m[0], "born=old$_") } 1 .. 3;
my $unused = pop @old;
my %mac = map { $_ => mac($_) } @old;

sub shops { $eve[0]->get('/shop/env'); $eve[1]->get('/shop/say?' . escape("MemSess-Incr: n=1\n\n")) }

my @steps = (['old', 'new'], ['new', 'old']);
for my $step (@steps) {
    for my $n (0, 1) {
        subtest "@$step on member $n" => sub {
            give($m[$n], @$step);
            live("@$step on $n");
            push @ann, logged_in('ann', $n);
            all_are('active', "@$step on $n: hers, whichever secret they are of", @ann);
            my $him = 'bob' . ($n + 1);
            if ($step == $steps[1]) {
                my $c = logged_in($him, $n);
                is $c->get(say_via('cgi', 'MemSess-Destroy: all'))->status, 200, 'he ends all of his';
                all_are('unknown', 'those of before too', @{ $bob{ $n + 1 } });
            }
        };
    }
}

subtest 'a cookie moves when it is used, once' => sub {
    for my $n (0, 1) {
        my $c = $old[$n]->via($m[$n]);
        my $id = substr $c->cookie, 0, 24;
        my $r = $c->get('/lua/env');
        is scalar(my @set = $r->header('Set-Cookie')), 1,
            'the cookie is set again by a request that only reads';
        is substr($c->cookie, 0, 24), $id, 'with the same id';
        isnt mac($c), $mac{ $old[$n] }, 'and another signature';
        $r = $c->get('/lua/env');
        is scalar(@set = $r->header('Set-Cookie')), 0, 'and then no more';
        is $r->env('MEMSESS_DATA'), 'born=old' . ($n + 1), 'the session is the same';
    }
};

subtest 'a record moves when it is used, once' => sub {
    my $c = $unused->via($m[1]);
    my $sets = sub { sum(map { $_->stats->{cmd_set} } @pool) };
    my $before = $sets->();
    data($c);
    ok wait_for(20, sub { $sets->() - $before >= 2 }), 'it is written by a request that only reads';
    is growth(0, sub { data($c) for 1 .. 3 }, ['cmd_set'], @pool), 0, 'and then no more';
};

shops();
for my $n (0, 1) {
    subtest "the old one is gone from member $n" => sub {
        give($m[$n], 'new');
        live("new on $n");
        is data($_->via($m[$n])), 'born=old' . ($_ == $old[0] ? 1 : $_ == $old[1] ? 2 : 3),
            'and those from before' for @old, $unused;
    };
}

subtest 'users of before are found by the new secret alone' => sub {
    all_are('active', 'hers, which were used', @ann);
    is_deeply [map { hint($_) } @ann], [(hint($ann[-1])) x @ann], 'have one name';
    $ann[-1]->copy->get(say_via('cgi', 'MemSess-Destroy: all'));
    all_are('unknown', 'and all are over', @ann);
    my $eve = logged_in('eve', 0);
    is_deeply [map { hint($_) } @eve], [(hint($eve)) x @eve], 'where another attribute counts too';
    $eve->get(say_via('cgi', 'MemSess-Destroy: all'));
    all_are('unknown', 'so these are over', @eve);
};

subtest 'nobody was told an error' => sub {
    for my $member (@m) {
        unlike $member->log->text, qr/:error\]/, 'no error in the log';
    }
};

subtest 'after a theft' => sub {
    give($m[$_], 'other') for 0, 1;
    for my $c (@old, values %visited) {
        my $r = $c->copy->via($m[0])->get('/lua/env');
        is $r->env('MEMSESS_STATE'), 'invalid', 'nothing that the stolen secret signed is accepted';
    }
};

subtest 'the log tells when another secret signs' => sub {
    for my $member (@m) {
        my @told = $member->log->text =~ /memsess:notice.*(secret rotated: .*)/g;
        my $now = 'secret rotated: the server now signs with another one; the one before is';
        is_deeply \@told,
            ["$now still accepted", "$now no longer accepted, so the sessions that it signed have ended"],
            'once for each time, and not at other restarts';
    }
};
