package Goals;

# The goals, and how far they were reached: shown again at the very end.

use strict;
use warnings;

use Report;

use List::Util qw(max min);

my @noted;

# Ratios of several rounds, and the goal for their median; how is 'at least' or
# 'at most'.
sub note {
    my ($what, $goal, $ratios, $how) = @_;
    push @noted, { what => $what, goal => $goal, ratios => $ratios, how => $how || 'at least',
        ratio => median(@$ratios) };
    return;
}

sub is_reached {
    my ($noted) = @_;
    return $noted->{how} eq 'at least' ? $noted->{ratio} >= $noted->{goal}
        : $noted->{ratio} <= $noted->{goal};
}

# The panel of the chart, if there are goals. Bars that reach the line reach their
# goal.
sub panel {
    return if !@noted;
    return { title => 'ratios, as a part of the goal', mark => 1, bars => [map { {
        name => $_->{what}, value => $_->{ratio} / $_->{goal}, ours => 1,
        text => sprintf('%.2f, %s %s', @$_{qw(ratio how goal)}) } } @noted] };
}

sub summary {
    say_on("%-35s %7s %17s   %-13s\n", 'goals', 'median', 'min - max', '');
    for my $noted (@noted) {
        my @ratios = @{ $noted->{ratios} };
        say_on("%-35s %7.3f %7.3f - %7.3f   %s %s: %s\n", $noted->{what}, $noted->{ratio},
            min(@ratios), max(@ratios), $noted->{how}, $noted->{goal},
            is_reached($noted) ? 'reached' : 'NOT reached');
    }
    my $reached = grep { is_reached($_) } @noted;
    say_on("\n%d of %d goals are reached\n", $reached, scalar @noted);
    return;
}

# The speed of all, the latency of reads while servers fail, and the goals.
sub everything {
    Speed::run(@_);
    Faults::run('read');
    machine();
    summary();
    Report::leave('goals');
    return;
}

1;
