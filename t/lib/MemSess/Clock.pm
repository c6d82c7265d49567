package MemSess::Clock;
# Time that passes when a test says so: a file that uses this has all members and memcacheds that it
# starts run by clocks that let_pass() sets ahead, the wall clock and the monotonic one, for all of them at
# once. What the kernel waits for, and this process, have the machine's time.
use strict;
use warnings;

use Exporter 'import';
use MemSess::Preload;
use MemSess::Process qw(wait_for);
use Time::HiRes qw(sleep time);

our @EXPORT = qw(let_pass now until_after hurrying);

my $file = "$ENV{MEMSESS_T_ROOT}/logs/passed-$$";
set_passed(0);

# In place: it is mapped, by t/preload/clock.c.
sub set_passed {
    my ($seconds) = @_;
    open my $out, -e $file ? '+<' : '>', $file or die "$file: $!";
    syswrite $out, pack 'q', 1e6 * $seconds or die "$file: $!";
    close $out or die $!;
}

sub passed {
    open my $in, '<', $file or die "$file: $!";
    sysread $in, my $bytes, 8 or die "$file: $!";
    return unpack('q', $bytes) / 1e6;
}

# What such a process is started with, beside preload/clock.c.
sub environment { return "MEMSESS_T_PASSED=$file" }

# Lets this many seconds pass: a memcached knows as soon as it is asked (but for one that is stopped), a
# thread that waits in a moment, and whoever looks at a clock at once.
sub let_pass {
    my ($seconds) = @_;
    my @running = grep { $_->isa('MemSess::Memcached') && $_->is_running } MemSess::Process::started();
    my %from = map { $_ => $_->stats->{time} } @running;
    set_passed(passed() + $seconds);
    for my $server (@running) {
        wait_for(10, sub { $server->stats->{time} >= $from{$server} + int $seconds })
            or die "time does not pass for a memcached\n";
    }
    sleep 0.05;
}

# The time of those processes, in seconds.
sub now () { return time + passed() }

# Lets pass what is left of these seconds after that time.
sub until_after {
    my ($time, $seconds) = @_;
    my $left = $time + $seconds - now();
    let_pass($left) if $left > 0;
}

# Runs the code; whenever the condition holds meanwhile, these seconds pass at once.
sub hurrying {
    my ($seconds, $condition, $code) = @_;
    defined(my $pid = fork) or die "fork: $!";
    if (!$pid) {
        $SIG{TERM} = 'DEFAULT';
        while (1) {
            set_passed(passed() + $seconds) if $condition->();
            sleep 0.05;
        }
    }
    my @rv = eval { $code->() };
    my $error = $@;
    kill 'TERM', $pid;
    waitpid $pid, 0;
    die $error if $error;
    return $rv[0];
}

1;
