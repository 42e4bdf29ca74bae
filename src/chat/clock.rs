//! The date, for templates that tell it to the model.

use std::time::{SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// `strftime` for a time in UTC, in English.
pub(super) fn format(format: &str, now: SystemTime) -> String {
    let seconds = match now.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or_default(),
        Err(_) => 0,
    };
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let hour12 = (hour + 11) % 12 + 1;
    let (month_name, day_name) = (MONTHS[month as usize - 1], DAYS[(days + 4).rem_euclid(7) as usize]);
    let (since_new_year, padded) = (days - from_civil(year, 1, 1), |value: i64| format!("{value:02}"));
    let half = if hour < 12 { "AM" } else { "PM" };
    let mut out = String::new();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let plain = chars.next_if_eq(&'-').is_some();
        let number = |value: i64| if plain { value.to_string() } else { padded(value) };
        match chars.next() {
            Some('Y') => out += &year.to_string(),
            Some('y') => out += &number(year.rem_euclid(100)),
            Some('m') => out += &number(month),
            Some('d') => out += &number(day),
            Some('e') => out += &if plain { day.to_string() } else { format!("{day:2}") },
            Some('H') => out += &number(hour),
            Some('I') => out += &number(hour12),
            Some('M') => out += &number(minute),
            Some('S') => out += &number(second),
            Some('p') => out += half,
            Some('j') => {
                out += &if plain { (since_new_year + 1).to_string() } else { format!("{:03}", since_new_year + 1) }
            }
            Some('B') => out += month_name,
            Some('b' | 'h') => out += &month_name[..3],
            Some('A') => out += day_name,
            Some('a') => out += &day_name[..3],
            Some('w') => out += &(days + 4).rem_euclid(7).to_string(),
            Some('F') => out += &format!("{year}-{month:02}-{day:02}"),
            Some('T' | 'X') => out += &format!("{hour:02}:{minute:02}:{second:02}"),
            Some('R') => out += &format!("{hour:02}:{minute:02}"),
            Some('D' | 'x') => out += &format!("{month:02}/{day:02}/{:02}", year.rem_euclid(100)),
            Some('f') => out += "000000",
            Some('z' | 'Z') => (), // as Python for a time without a zone
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('%') => out.push('%'),
            Some(other) => out.extend(['%', other]),
            None => out.push('%'),
        }
    }
    out
}

/// Year, month and day of a day since 1970, by the Gregorian calendar: counted from 1 March, 400 years repeat.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (month, day) = (if month < 10 { month + 3 } else { month - 9 }, day - (153 * month + 2) / 5 + 1);
    (year + era * 400 + i64::from(month <= 2), month, day)
}

fn from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn dates_are_the_calendars() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(format("%A %d %B %Y %H:%M:%S", at(0)), "Thursday 01 January 1970 00:00:00");
        assert_eq!(format("%Y-%m-%d %a %b %j", at(951_782_399)), "2000-02-28 Mon Feb 059");
        assert_eq!(format("%F %T %p %I", at(951_782_400 + 13 * 3600)), "2000-02-29 13:00:00 PM 01");
        assert_eq!(format("%d %b %Y, %-d %-m %y %e %% %q", at(1_735_603_200)), "31 Dec 2024, 31 12 24 31 % %q");
        assert_eq!(format("%j %-j %x", at(1_704_067_200)), "001 1 01/01/24");
        for days in (-800_000..800_000).step_by(37) {
            let (year, month, day) = civil(days);
            assert_eq!(from_civil(year, month, day), days);
        }
    }
}
