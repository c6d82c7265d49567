package MemSess::Faulty;
# Stands before a real memcached and spoils its answers, as told by mode():
#   pass     nothing is spoilt
#   garbage  the answer is garbage
#   error    SERVER_ERROR is answered
#   cut      half of the answer, then the connection is closed
#   hang     half of the answer, then nothing more
#   late     the whole answer, after a second and a half
#   lag      the whole answer, after 70 ms
#   closed   connections are closed as soon as they come
#   silent   nothing is passed on, and nothing is answered
#   slow     that the next record is set is said when it is told to pass again; then it is_holding
use strict;
use warnings;
use parent 'MemSess::Process';

use IO::Select;
use IO::Socket::INET;
use Time::HiRes qw(time);

my %after = (late => 1.5, lag => 0.07);    # seconds

sub start {
    my ($class, $memcached) = @_;
    my $self = $class->named('faulty');
    $self->{mode_file} = $self->{log} =~ s/log$/mode/r;
    $self->mode('pass');
    return $self->launch_perl(__FILE__, $memcached->port, $self->{mode_file});
}

sub address { "127.0.0.1:$_[0]{port}" }

sub mode { my ($self, $mode) = @_; set_mode($self->{mode_file}, $mode) }

sub is_holding { my ($self) = @_; return mode_in($self->{mode_file}) eq 'held' }

sub mode_in { my ($file) = @_; open my $in, '<', $file or die "$file: $!"; return scalar <$in> }

sub set_mode {
    my ($file, $mode) = @_;
    open my $out, '>', "$file.new" or die $!;
    print $out $mode;
    close $out;
    rename "$file.new", $file or die $!;
}

# ---- what runs in the process of its own ----

sub serve {
    my ($port, $behind, $mode_file) = @_;
    my $listener = MemSess::Process::listen_on($port);
    my $all = IO::Select->new($listener);
    my (%peer, %is_client, @late, $slow, @held);
    my $drop = sub {
        my ($s) = @_;
        my $other = delete $peer{$s};
        delete $peer{$other} if $other;
        for my $gone (grep { defined } $s, $other) { $all->remove($gone); close $gone }
    };
    while (1) {
        for my $ready ($all->can_read(@late ? 0.005 : 0.05)) {
            my $mode = mode_in($mode_file);
            if ($ready == $listener) {
                my $client = $listener->accept or next;
                my $server = $mode eq 'closed' ? undef
                    : IO::Socket::INET->new(PeerHost => '127.0.0.1', PeerPort => $behind) or next;
                @peer{$client, $server} = ($server, $client);
                $is_client{$client} = 1;
                delete $is_client{$server};
                $all->add($client, $server);
                next;
            }
            my $other = $peer{$ready} or next;
            if (!sysread $ready, my $data, 1 << 20) {
                $drop->($ready);
            }
            elsif ($mode eq 'silent') {
            }
            elsif ($slow and $ready == $slow) {
                undef $slow;
                @held = ($other, $data);
            }
            elsif ($is_client{$ready} or $mode =~ /^(?:pass|slow|held)$/) {
                syswrite $other, $data;
                if ($mode eq 'slow' and $data =~ /^set [\w-]{51} /) {
                    $slow = $other;
                    set_mode($mode_file, 'held');
                }
            }
            elsif (my $after = $after{$mode}) {
                push @late, [time + $after, $other, $data];
            }
            else {
                syswrite $other, $mode eq 'garbage' ? "\0\xffVALUE nothing 0 x\r\n\r\nEND"
                               : $mode eq 'error'
                               ? "SERVER_ERROR out of memory storing object\r\n"
                               :                      substr $data, 0, length($data) / 2;
                $drop->($ready) if $mode eq 'cut' or $mode eq 'closed';
            }
        }
        if (@held and mode_in($mode_file) ne 'held') {
            my ($to, $data) = splice @held;
            syswrite $to, $data if $peer{$to};
        }
        while (@late and $late[0][0] < time) {
            my (undef, $to, $data) = @{ shift @late };
            syswrite $to, $data if $peer{$to};
        }
    }
}

if (!caller) {
    $SIG{PIPE} = 'IGNORE';
    serve(@ARGV);
}

1;
