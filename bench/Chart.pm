package Chart;

# Bar charts as SVG.

use strict;
use warnings;

use List::Util qw(max);

my ($LEFT, $BAR, $RIGHT, $ROW, $GAP) = (150, 420, 400, 18, 50);

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

# Panels, one below the other: title, and bars of [name, value or undef, note].
sub bars {
    my ($title, @panels) = @_;
    my $y = 30;
    my $body = _text(10, $y, $title, 'font-size="18"');
    for my $panel (@panels) {
        my $most = max(1, grep { defined } map { $_->[1] } @{ $panel->{bars} });
        $y += $GAP;
        $body .= _text($LEFT, $y - 8, $panel->{title}, 'font-weight="bold"');
        for my $bar (@{ $panel->{bars} }) {
            my ($name, $value, $note) = @$bar;
            my $width = $BAR * ($value || 0) / $most;
            $body .= _text($LEFT - 6, $y + 13, $name, 'text-anchor="end"')
                . sprintf(qq(<rect x="%d" y="%.1f" width="%.1f" height="%d" fill="%s"/>\n),
                    $LEFT, $y + 2, $width, $ROW - 4, '#4878a8')
                . _text($LEFT + $width + 6, $y + 13,
                    (defined $value ? sprintf('%.0f', $value) : 'fails') . "  $note",
                        'fill="#444"');
            $y += $ROW;
        }
    }
    return sprintf(qq(<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" )
        . qq(font-family="sans-serif" font-size="12">\n<rect width="100%%" height="100%%" fill="#fff"/>\n),
        $LEFT + $BAR + $RIGHT, $y + 20) . $body . "</svg>\n";
}

1;
