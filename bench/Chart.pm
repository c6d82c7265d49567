package Chart;

# Bar charts as SVG.

use strict;
use warnings;

use List::Util qw(max);

my ($LEFT, $BAR, $RIGHT, $ROW, $GAP) = (230, 420, 350, 18, 46);
my ($OURS, $THEIRS) = ('#4878a8', '#b0b0a8');

sub _escape {
    my ($text) = @_;
    my %entity = ('&' => 'amp', '<' => 'lt', '>' => 'gt');
    $text =~ s/([&<>])/&$entity{$1};/g;
    return $text;
}

sub _text {
    my ($x, $y, $text, @more) = @_;
    return sprintf qq(<text x="%.1f" y="%.1f" %s>%s</text>\n), $x, $y, "@more", _escape($text);
}

sub _bar {
    my ($bar, $y, $scale, $mark) = @_;
    my $width = $scale * ($bar->{value} || 0);
    my $beside = $LEFT + 6 + max($width, $scale * ($mark || 0));
    return _text($LEFT - 6, $y + 13, $bar->{name}, 'text-anchor="end"')
        . sprintf(qq(<rect x="%d" y="%.1f" width="%.1f" height="%d" fill="%s"/>\n),
            $LEFT, $y + 2, $width, $ROW - 4, $bar->{ours} ? $OURS : $THEIRS)
        . _text($beside, $y + 13, $bar->{text}, 'fill="#444"');
}

# Panels, one below the other: title, bars (name, value or undef, text beside it,
# ours), and mark: a value that gets a line through all bars.
sub bars {
    my ($title, $below, @panels) = @_;
    my $y = 30;
    my $body = _text(10, $y, $title, 'font-size="18"');
    $body .= _text(10, $y += 16, $_, 'fill="#444"') for @$below;
    for my $panel (@panels) {
        my @bars = @{ $panel->{bars} };
        my $scale = $BAR / max(0.001, grep { defined } $panel->{mark}, map { $_->{value} } @bars);
        $y += $GAP;
        $body .= _text($LEFT, $y - 6, $panel->{title}, 'font-weight="bold"');
        my $first = $y;
        for my $bar (@bars) {
            $body .= _bar($bar, $y, $scale, $panel->{mark});
            $y += $ROW;
        }
        $body .= sprintf(qq(<line x1="%.1f" x2="%1\$.1f" y1="%d" y2="%d" stroke="#c03020"/>\n),
            $LEFT + $scale * $panel->{mark}, $first, $y) if defined $panel->{mark};
    }
    return sprintf(qq(<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" )
        . qq(font-family="sans-serif" font-size="12">\n)
        . qq(<rect width="100%%" height="100%%" fill="#fff"/>\n),
        $LEFT + $BAR + $RIGHT, $y + 20) . $body . "</svg>\n";
}

1;
