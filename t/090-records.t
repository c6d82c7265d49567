# Whatever is found in memcached: a defined state, never a crash, never another session's data.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Test;

plan tests => 2 * 6 + 2;

my @pool = map { MemSess::Memcached->start } 1 .. 2;
my $m = MemSess::Member->start(servers => [$pool[0]]);

# The items that were created while the code ran.
sub born {
    my ($server, $code) = @_;
    my %before = map { $_ => 1 } $server->keys;
    $code->();
    return grep { !$before{$_} } $server->keys;
}

# A session and the one item that is its record: without that item the session is gone.
sub recorded {
    my ($form) = @_;
    my $c;
    my @born = born($pool[0], sub { $c = started($m, $form) });
    my ($key) = grep {
        my ($value, $flags) = $pool[0]->item($_);
        $pool[0]->delete($_);
        my $state = state($c->copy);
        $pool[0]->set($_, $value, $flags);
        $state ne 'active';
    } @born;
    defined $key && data($c) eq $form or die "no record of this session";
    return ($c, $key, $pool[0]->item($key));
}

my ($bert, $his_key, $his_record, $his_flags) = recorded('who=bert');
my ($anna, $key, $record, $flags);

# Runs the code with this value in place of her record, and puts her own back.
sub with_record {
    my ($value, $code, $flagged) = @_;
    $pool[0]->set($key, $value, $flagged // $flags);
    $code->();
    $pool[0]->set($key, $record, $flags);
}

# The answer has a defined state, and data only in an active session.
sub is_defined {
    my ($what) = @_;
    my $r = $anna->copy->get('/lua/env');
    my ($state, $data) = map { $r->env("MEMSESS_$_") // '' } qw(STATE DATA);
    my $sane = $r->status == 200 ? $state =~ /^(?:unknown|invalid|expired|active|unavailable)$/
        && ($state eq 'active' || $data eq '')
                                 : $r->status == 503;
    return ok($sane && $data !~ /bert/, $what) || diag "$r->{raw}";
}

# As far as anybody can tell, the session does not exist.
sub is_refused {
    my ($what) = @_;
    my $r = $anna->copy->get('/lua/env');
    ok $r->status == 503 || ($r->env('MEMSESS_STATE') // '')
        =~ /^(?:unknown|invalid|expired|unavailable)$/, "$what: refused"
        or diag $r->{raw};
    unlike $r->body, qr/anna|bert|1234/, "$what: no data";
}

for my $form ('card=1234&who=anna', 'card=1234&pad=' . 'x' x 5000 . '&who=anna') {
    ($anna, $key, $record, $flags) = recorded($form);
    my $kind = length($form) < 5000 ? 'plain' : length($record) < 5000 ? 'compressed'
        : die 'not compressed';

    subtest "$kind: truncated" => sub {
        for my $length (0 .. length($record) - 1) {
            with_record(substr($record, 0, $length), sub { is_refused("$length bytes") });
        }
    };

    subtest "$kind: extended" => sub {
        for my $more ("\0", 'x', $record, "\xff" x 1000, 'x' x 100000) {
            with_record($record . $more, sub { is_refused('and ' . length($more) . ' more') });
        }
    };

    subtest "$kind: of another version" => sub {
        for my $head ("\xff\xff", "\0\0", "\x7f\x7f\x7f\x7f") {
            with_record($head . substr($record, length $head),
                sub { is_refused(unpack 'H*', $head) });
        }
    };

    subtest "$kind: changed in one byte" => sub {
        for my $at (0 .. length($record) - 1) {
            for my $mask (0x01, 0x80, 0xff) {
                my $changed = $record;
                substr($changed, $at, 1) ^= chr $mask;
                with_record($changed, sub { is_defined("byte $at ^ $mask") });
            }
        }
    };

    subtest "$kind: random bytes" => sub {
        my $seed = srand;
            for my $n (1 .. 150) {
            my $random = join '', map { chr rand 256 } 1 .. rand(2 * length $record);
            # Most of these would fail on the version, so some bytes of the true head stay.
            substr($random, 0, 0) = substr $record, 0, $n % 24;
            with_record($random, sub { is_defined("random $n, seed $seed") });
        }
        with_record(join('', map { chr rand 256 } 1 .. 500000), sub { is_refused('500 kB') });
    };

    subtest "$kind: with other flags" => sub {
        with_record($record, sub { is_defined("flags $_") }, $_) for 1, 2, 255, 65535, 4294967295;
    };
}

($anna, $key, $record, $flags) = recorded('card=1234&who=anna');

subtest "another's" => sub {
    $pool[0]->set($key, $his_record, $his_flags);
    $pool[0]->set($his_key, $record, $flags);
    is_refused('exchanged');
    my $r = $bert->copy->get('/lua/env');
    unlike $r->body, qr/anna|1234/, 'either way';
    my $writer = $anna->copy;
    $writer->get(say_via('cgi', 'MemSess-Set: new=1'));
    unlike(data($writer) // '', qr/bert|anna/, 'nor by writing');
    $pool[0]->set($key, $record, $flags);
    $pool[0]->set($his_key, $his_record, $his_flags);
    is data($anna), 'card=1234&who=anna', 'put back';
    is data($bert), 'who=bert', 'put back';
};

subtest 'one copy of two is damaged' => sub {
    my $pair = MemSess::Member->start(servers => \@pool);
    for my $n (0, 1) {
        for my $damage ('', 'rubbish', "\xff" x 200) {
            my $c;
            my @born = born($pool[$n], sub { $c = started($pair, 'a=1') });
            $pool[$n]->set($_, $damage) for @born;
            is data($c->copy), 'a=1', 'the other is good' for 1 .. 2;
            set_via($c, 'a=2');
            is data($c), 'a=2', 'and can be changed';
        }
    }
    $pair->stop;
};
