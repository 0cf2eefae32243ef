//! The wish to stop: SIGTERM, SIGINT and SIGQUIT. The first ends a collection with a seal, the second the process.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::TERM_SIGNALS;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// The first signal sets the flag that is answered, the second ends the process at once.
///
/// # Errors
/// As signal(7) has them.
pub fn flag_on_signals() -> io::Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in TERM_SIGNALS {
        signal_hook::flag::register_conditional_shutdown(*signal, 128 + 2, Arc::clone(&interrupted))?;
        signal_hook::flag::register(*signal, Arc::clone(&interrupted))?;
    }
    Ok(interrupted)
}

/// The same for those who wait instead of looking.
#[derive(Clone, Debug)]
pub struct Stop {
    flag: Arc<AtomicBool>,
    told: watch::Receiver<bool>,
}

impl Stop {
    /// Listens from now on. To be called inside a runtime.
    ///
    /// # Errors
    /// As signal(7) has them.
    pub fn listen() -> io::Result<Self> {
        let flag = flag_on_signals()?;
        let (tell, told) = watch::channel(false);
        for number in TERM_SIGNALS {
            let mut arrived = signal(SignalKind::from_raw(*number))?;
            let tell = tell.clone();
            tokio::spawn(async move {
                arrived.recv().await;
                let _ = tell.send(true);
            });
        }
        Ok(Self { flag, told })
    }

    /// Set when a signal came.
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.flag)
    }

    /// True when a signal came.
    pub fn is_requested(&self) -> bool {
        *self.told.borrow()
    }

    /// Waits for a signal.
    pub async fn requested(&mut self) {
        if self.told.wait_for(|told| *told).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
