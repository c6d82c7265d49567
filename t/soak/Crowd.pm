package Crowd;
# A client whose users have many sessions, on members with MemSessUserSessions: each user logs in
# many times at once, then two of the sessions that are left end all others at once. At most one
# fault happens meanwhile.
#
# Exactly $MOST of the log-ins are live afterwards, or fewer if some were refused: a refused one may
# have taken a place. If two sessions end each other, one of them goes on, or both, and no other
# does.
use strict;
use warnings;
use parent 'Worker';

use JSON::PP;
use POSIX ();
use Time::HiRes qw(sleep);

our $MOST = 3;      # MemSessUserSessions
my $LOG_INS   = 8;  # at once
my $SURVIVORS = 10; # sessions of earlier users that are still checked

sub act {
    my ($self) = @_;
    my $user = "crowd$self->{id}." . ++$self->{serial};
    local $self->{asked} = $user;
    my @made = $self->at_once(map { [undef, "MemSess-Set: user=$user"] } 1 .. $LOG_INS);
    $self->count('crowd');
    my @cookies = grep { defined } map { $_->{cookie} } @made;
    my $refused = grep { $_->{refused} } @made;
    my @live = $self->live(@cookies);
    $self->violation('revived', "$user: @{[ scalar @live ]} of $LOG_INS log-ins are live")
        if @live > $MOST;
    my $least = $MOST - $refused < @cookies ? $MOST - $refused : @cookies;
    $self->violation('lost', "$user: @{[ scalar @live ]} of $LOG_INS log-ins are live, with $refused "
        . 'refused') if @live < $least;
    $self->end_others($user, \@live, \@cookies);
}

sub end_others {
    my ($self, $user, $live, $cookies) = @_;
    my @two = @$live > 2 ? @$live[0, 1] : return;
    my @said = $self->at_once(map { [$_, 'MemSess-Destroy: others'] } @two);
    my @left = $self->live(@$cookies);
    $self->violation('lost', "$user: two ended each other, and none is left") if !@left;
    my %is_one = map { $_ => 1 } @two;
    $self->violation('revived', "$user: all others were ended, and one goes on")
        if grep({ !$is_one{$_} } @left) && grep { !$_->{refused} } @said;
    push @{ $self->{survivors} }, $left[0] if @left;
    shift @{ $self->{survivors} } if @{ $self->{survivors} } > $SURVIVORS;
}

# Which of these cookies are live, as every member says.
sub live {
    my ($self, @cookies) = @_;
    return grep { $self->is_live($_) } @cookies;
}

sub is_live {
    my ($self, $cookie) = @_;
    for (1 .. 100) {
        my $r = $self->ask('read', $cookie);
        return $r->{state} eq 'active' if !$r->{refused};
        sleep 0.2;
    }
    $self->violation('other', "no answer to readings of $self->{asked}");
    return 0;
}

# Sessions that are left over stay, whatever happens to servers.
sub touch {
    my ($self) = @_;
    $self->{calm} = 1;
    sleep 0.3;
    local $self->{asked} = 'a survivor';
    my @left = @{ $self->{survivors} // [] };
    for my $port (@{ $self->{ports} }) {
        local $self->{ports} = [$port];
        @left = $self->live(@left);
    }
    $self->violation('lost', 'a session that ended all others')
        if @left < @{ $self->{survivors} // [] };
    $self->{survivors} = \@left;
}

sub report { my ($self) = @_; return $self->tell_counts }

# Asks everything at the same time, each in a process of its own, and returns the answers.
sub at_once {
    my ($self, @asked) = @_;
    my @lines = map {
        my ($cookie, @lines) = @$_;
        pipe my $in, my $out or die "pipe: $!";
        defined(my $pid = fork) or die "fork: $!";
        if (!$pid) {
            @$self{qw(connection count most)} = ({}, {}, {});
            my $r = $self->ask('change', $cookie, @lines);
            syswrite $out, encode_json([$r, $self->{count}, $self->{most}]) . "\n";
            POSIX::_exit(0);
        }
        [$pid, $in];
    } @asked;
    return map { $self->answer_of(@$_) } @lines;
}

sub answer_of {
    my ($self, $pid, $in) = @_;
    my ($r, $count, $most) = @{ decode_json(readline($in) // '[{"refused":1},{"other":1},{}]') };
    waitpid $pid, 0;
    $self->count($_, $count->{$_}) for keys %$count;
    for (keys %$most) {
        $self->{most}{$_} = $most->{$_} if $most->{$_} > ($self->{most}{$_} // 0);
    }
    return $r;
}

1;
