//! What is to be scored: a conversation, and which of its turns say what the task is.
//!
//! The last line of a conversation is often "yes, do it". So a task is the last user turn together
//! with the earlier user turns it leans on, and a system prompt only colours it.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Who speaks in a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Instructions of the application (OpenAI's `developer` too).
    System,
    /// The person, or the program, that asks.
    User,
    /// An earlier answer.
    Assistant,
    /// The result of a tool call.
    Tool,
}

/// One message of a conversation, as plain text.
#[derive(Clone, Debug)]
pub struct Turn<'a> {
    /// Who speaks.
    pub role: Role,
    /// What is said: the text parts joined by newlines.
    pub text: Cow<'a, str>,
}

/// A conversation to score, oldest turn first.
#[derive(Clone, Debug)]
pub struct Task<'a> {
    /// The turns, oldest first.
    pub messages: Cow<'a, [Turn<'a>]>,
}

impl Task<'_> {
    /// Tells tasks of other words apart, within one run of the program.
    pub(crate) fn digest(&self) -> u64 {
        let mut running = DefaultHasher::new();
        for turn in self.messages.iter() {
            (turn.role as u8, turn.text.as_ref()).hash(&mut running);
        }
        running.finish()
    }
}

/// A stretch of text and how much it counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passage<'a> {
    pub(crate) text: &'a str,
    /// Weight of its words in the bag; 1 for the task itself.
    pub(crate) weight: f32,
    /// Whether length and character counts are taken from it.
    pub(crate) counted: bool,
}

/// A turn of at most this many words may be a follow-up that leans on what came before it.
const FOLLOW_UP_WORDS: usize = 8;
/// A longer turn is a task on its own whatever its words are.
const FOLLOW_UP_BYTES: usize = 400;
/// A task reaches back over at most this many follow-ups.
const LONGEST_LEAN: usize = 6;
/// What a system prompt's words count beside the user's.
const SYSTEM_WEIGHT: f32 = 0.25;
/// How much of a system prompt is looked at: instructions come first.
const SYSTEM_BYTES: usize = 400;

impl<'a> Task<'a> {
    /// A conversation of the given turns, oldest first.
    pub fn new(messages: &'a [Turn<'a>]) -> Task<'a> {
        Task { messages: Cow::Borrowed(messages) }
    }

    /// A single user turn.
    pub fn prompt(text: &'a str) -> Task<'a> {
        Task { messages: Cow::Owned(vec![Turn { role: Role::User, text: Cow::Borrowed(text) }]) }
    }

    /// The passages that say what the task is, oldest first.
    pub(crate) fn passages(&self) -> Vec<Passage<'_>> {
        let mut passages = Vec::with_capacity(4);
        if let Some(system) = self.messages.iter().find(|turn| turn.role == Role::System) {
            let text = head(&system.text, SYSTEM_BYTES);
            passages.push(Passage { text, weight: SYSTEM_WEIGHT, counted: false });
        }
        let first = passages.len();
        let spoken = |turn: &&Turn<'_>| turn.role == Role::User && !turn.text.trim().is_empty();
        for (nth, turn) in self.messages.iter().rev().filter(spoken).enumerate() {
            passages.push(Passage { text: &turn.text, weight: 1.0, counted: true });
            if nth >= LONGEST_LEAN || !leans(&turn.text) {
                break;
            }
        }
        if passages.len() == first {
            // No user at all: whatever is there is the task (a bare system prompt, a completion).
            passages.clear();
            let last = self.messages.iter().rev().find(|turn| !turn.text.trim().is_empty());
            passages.extend(last.map(|turn| Passage { text: &turn.text, weight: 1.0, counted: true }));
        }
        let first = first.min(passages.len());
        passages[first..].reverse();
        passages
    }

    /// Bytes of all turns together, for token estimates.
    pub fn bytes(&self) -> usize {
        self.messages.iter().map(|turn| turn.text.len()).sum()
    }
}

/// Whether a user turn is too short to be a task on its own when something came before it.
///
/// Scripts without spaces put a word in two or three characters, so there characters are counted.
fn leans(text: &str) -> bool {
    if text.len() > FOLLOW_UP_BYTES {
        return false;
    }
    let words = text.split_whitespace().count();
    let wide =
        text.chars().filter(|c| matches!(*c as u32, 0x0E00..=0x0E7F | 0x2E80..=0x9FFF | 0x20000..)).count();
    words + wide / 2 <= FOLLOW_UP_WORDS
}

/// The longest prefix of at most `bytes` bytes that ends at a character.
pub(crate) fn head(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// The longest suffix of at most `bytes` bytes that starts at a character.
pub(crate) fn tail(text: &str, bytes: usize) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(bytes))..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns<'a>(spoken: &[(Role, &'a str)]) -> Vec<Turn<'a>> {
        spoken.iter().map(|(role, text)| Turn { role: *role, text: Cow::Borrowed(*text) }).collect()
    }

    fn texts<'a>(task: &'a Task<'_>) -> Vec<&'a str> {
        task.passages().iter().map(|passage| passage.text).collect()
    }

    #[test]
    fn a_follow_up_brings_the_turn_it_leans_on() {
        let plan = "Plan the migration of the billing tables so that no payment is lost at any point.";
        let spoken = turns(&[
            (Role::User, "Hello there"),
            (Role::User, plan),
            (Role::Assistant, "Shall I go on?"),
            (Role::User, "yes"),
            (Role::Assistant, "And test it?"),
            (Role::User, "yes, do it"),
        ]);
        assert_eq!(texts(&Task::new(&spoken)), [plan, "yes", "yes, do it"]);
    }

    #[test]
    fn a_follow_up_is_short_in_any_language() {
        for (follow_up, own) in [
            (
                "네, 그렇게 진행해 주세요",
                "프랑스와 스페인 둘 다와 국경을 맞대고 있는 작은 나라의 수도는 어디인가요?",
            ),
            (
                "はい、それでお願いします",
                "フランスとスペインの両方に国境を接する国の首都はどこですか。教えてください。",
            ),
            ("Да, давай, сделай так", "Какая столица у страны, которая граничит и с Испанией, и с Францией?"),
            ("ใช่ ทำเลย", "เมืองหลวงของประเทศที่มีพรมแดนติดกับทั้งสเปนและฝรั่งเศสคืออะไร"),
        ] {
            assert!(leans(follow_up) && !leans(own), "{follow_up} {own}");
        }
    }

    #[test]
    fn a_full_question_stands_alone() {
        let question = "What is the capital of the country that borders both Spain and France?";
        let spoken =
            turns(&[(Role::User, "Prove that there are infinitely many primes."), (Role::User, question)]);
        assert_eq!(texts(&Task::new(&spoken)), [question]);
    }

    #[test]
    fn a_system_prompt_colours_and_is_not_counted() {
        let long = "Be brief. ".repeat(2000);
        let spoken = turns(&[(Role::System, &long), (Role::User, "Hi")]);
        let task = Task::new(&spoken);
        let passages = task.passages();
        assert_eq!(passages.len(), 2);
        assert!(!passages[0].counted && passages[0].text.len() <= SYSTEM_BYTES && passages[0].weight < 1.0);
        assert!(passages[1].counted && passages[1].text == "Hi");
    }

    #[test]
    fn without_a_user_the_last_text_is_the_task() {
        let spoken = turns(&[(Role::System, "Translate to French: good morning"), (Role::Assistant, " ")]);
        assert_eq!(texts(&Task::new(&spoken)), ["Translate to French: good morning"]);
        assert!(Task::new(&[]).passages().is_empty());
    }

    #[test]
    fn cuts_fall_between_characters() {
        assert_eq!(head("añb", 2), "a");
        assert_eq!(tail("añb", 2), "b");
        assert_eq!(tail("ab", 9), "ab");
    }
}
